// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mirror: a device page table that follows the page tables of an mm.
 */
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "base/trace.h"
#include "hw/device.h"
#include "memory/region.h"
#include "mirror/interval.h"
#include "mirror/invalidate.h"
#include "mirror/mirror.h"
#include "mirror/often.h"
#include "pgtable/dma.h"

/**
 * DOC: The mirror
 *
 * Two things happen to a mirror. The CPU side changes, and an invalidation takes
 * out what is no longer true (mirror/invalidate.c). The device wants more, and
 * ff_populate() has the CPU side make pages present and enters them. They meet
 * under one lock, with the sequence number of the interval notifier to tell
 * whether what hmm_range_fault() found is still so.
 */

/**
 * DOC: Locks
 *
 * The locks of the driver, outermost first; those further in on the page may be
 * taken under those further out::
 *
 *	ctx->state			mutex: how far a context is, see file/ctx.h
 *	dmirror->lock			mutex: a selftest file, see testing/dmirror.h
 *	ctx->pins.lock			mutex: registered buffers, see file/ctx.h
 *	mirror->adding			mutex: notifiers, see mirror/interval.c
 *	mmap_lock (or that of a VMA)
 *	  copies->lock			mutex: copy queue, see hw/copy.h
 *	  service->lock			mutex: queues, see service/service.h
 *	    i_mmap_rwsem and on		when doorbells are unmapped
 *	      mirror->lock		mutex: page table of a context
 *	        commands->lock		spinlock: command queue
 *	        region->lock		spinlock: device memory, see memory/region.h
 *	        i_pages and on		what folio_mark_dirty() takes
 *	      look->lock		spinlock: a snapshot's notifier
 *	    xa_lock of ff->contexts	spinlock: contexts by PASID
 *	      ff->queue_lock		spinlock: groups of faults
 *	thrash->lock			spinlock: what was moved of late, alone
 *
 * mirror->lock is taken in notifiers, and so below whatever mm holds there and
 * inside reclaim. Under it nothing is allocated that could wait (a split takes a
 * table if there is one at once), no fault is taken, no notifier is inserted or
 * removed, and nothing is taken but commands->lock, region->lock, spinlocks of the DMA API, and
 * those of folio_mark_dirty(), which mm calls with a PTE's lock held, and so
 * below all that it holds in a notifier. look->lock is the one other lock that
 * notifiers take.
 *
 * No lock but mmap_lock is held while hmm_range_fault() runs. None is held while a
 * program's command is waited for, and only dmirror->lock while one of the driver's
 * own is. The device's answer may be waited for under every mutex except
 * mirror->lock. Under that one, room in the command queue is waited for, and an
 * invalidation that may not block polls for the answer, for a moment. A device that
 * does not answer within a time limit counts as lost.
 */

/* --- Letting go ----------------------------------------------------------- */

/*
 * Undoes the DMA mappings of a range in one interval if their flush has passed. False
 * if something in the interval is still to be flushed.
 */
bool ff_mirror_reap_passed(struct ff_mirror *mirror,
			   struct ff_interval *interval, unsigned long start,
			   unsigned long end, struct list_head *tables)
{
	lockdep_assert_held(&mirror->lock);
	if (!mirror->pgt.stale)
		return true;
	if (!ff_command_passed(mirror->ff, interval->flush))
		return false;
	ff_dma_reap(&mirror->pgt, &interval->dma, start, end, tables);
	return true;
}

/*
 * Undoes what can be undone of a range in one interval, and so holds the lock no
 * longer than an invalidation does. Returns the fence after which the tables can
 * be freed.
 */
static u64 ff_mirror_reap_interval(struct ff_interval *interval,
				   unsigned long start, unsigned long end,
				   struct list_head *tables)
{
	struct ff_mirror *mirror = interval->mirror;
	LIST_HEAD(empty);
	u64 fence = 0;

	start = max(start, ff_interval_start(interval));
	end = min(end, ff_interval_end(interval));
	guard(mutex)(&mirror->lock);
	ff_mirror_reap_passed(mirror, interval, start, end, &empty);
	if (!list_empty(&empty))
		fence = ff_mirror_flush(mirror, start, end - start, true);
	list_splice(&empty, tables);
	return fence;
}

/*
 * As ff_interval_settle(), outside of an invalidation. What was mapped and taken out
 * again meanwhile is for the invalidation that did it, and if there is some in a
 * interval, what else is stale there stays until an invalidation comes by.
 */
static void ff_mirror_settle_dropped(struct ff_mirror *mirror,
				     unsigned long start, unsigned long end,
				     u64 fence, struct list_head *tables)
{
	unsigned long index = start;
	struct ff_interval *interval;

	ff_command_wait(mirror->ff, fence);
	if (mirror->pgt.translated) {
		mt_for_each(&mirror->intervals, interval, index, end - 1) {
			fence = max(fence,
				    ff_mirror_reap_interval(interval, start,
							    end, tables));
			cond_resched();
		}
		ff_command_wait(mirror->ff, fence);
	}
	ff_tables_free(&mirror->pgt, tables);
}

/*
 * Takes out what is mapped in one interval, and so holds the lock no longer than an
 * invalidation does. Returns the fence after which the device has none of it.
 */
static u64 ff_mirror_zap_interval(struct ff_interval *interval,
				  unsigned long start, unsigned long end,
				  struct list_head *tables)
{
	struct ff_mirror *mirror = interval->mirror;
	struct ff_gather gather;

	guard(mutex)(&mirror->lock);
	ff_interval_zap(interval, start, end, 0, &gather);
	list_splice(&gather.tables, tables);
	return ff_interval_flush(interval, &gather, true);
}

/*
 * Lets go of pages. Returns when the device has no translation of them any more, whoever
 * took it out. An invalidation that comes meanwhile finds nothing, and waits likewise.
 */
void ff_mirror_drop(struct ff_mirror *mirror, unsigned long start,
		    unsigned long end)
{
	unsigned long index = start;
	struct ff_interval *interval;
	LIST_HEAD(tables);
	u64 fence = 0;

	mt_for_each(&mirror->intervals, interval, index, end - 1) {
		fence = max(fence, ff_mirror_zap_interval(interval, start, end,
							  &tables));
		cond_resched();
	}
	ff_mirror_settle_dropped(mirror, start, end, fence, &tables);
}

/* --- Beginning and end ---------------------------------------------------- */

/**
 * ff_mirror_lock_to_map() - Take the lock, with tables at hand to map with
 * @mirror: mirror; the caller is in a section of ff_device_enter()
 *
 * As many as one table of level 0 can need. They are allocated without the lock,
 * which invalidations take in reclaim, by a thread of the process, which is charged.
 *
 * Return: 0 with the lock held, -ENOMEM, -ESHUTDOWN if the mirror closes.
 */
int ff_mirror_lock_to_map(struct ff_mirror *mirror)
{
	struct ff_table *table;
	LIST_HEAD(tables);

	lockdep_assert(srcu_read_lock_held(&mirror->ff->unplug));
	mutex_lock(&mirror->lock);
	while (!READ_ONCE(mirror->closing) &&
	       list_count_nodes(&mirror->spares) < FF_PGTABLE_SPARES) {
		mutex_unlock(&mirror->lock);
		table = ff_table_alloc(&mirror->pgt, GFP_KERNEL_ACCOUNT);
		if (!table)
			return -ENOMEM;
		mutex_lock(&mirror->lock);
		list_add(&table->link, &mirror->spares);
	}
	if (!READ_ONCE(mirror->closing))
		return 0;
	list_splice_init(&mirror->spares, &tables);
	mutex_unlock(&mirror->lock);
	ff_tables_free(&mirror->pgt, &tables);
	return -ESHUTDOWN;
}

/*
 * Prepares to follow the calling process. The first notifier of an mm, and only that,
 * gives way to any signal. This is the first, of no range, as
 * mmu_interval_notifier_insert() would do it; so no fault fails because the process was
 * stopped meanwhile. Waits for the mmap lock. -ENOMEM, or -ERESTARTSYS if a signal came.
 */
int ff_mirror_follow(struct ff_mirror *mirror)
{
	int ret;

	if (mmap_write_lock_killable(mirror->mm))
		return -EINTR;
	ret = __mmu_notifier_register(NULL, mirror->mm);
	mmap_write_unlock(mirror->mm);
	return ret == -EINTR ? -ERESTARTSYS : ret;
}

/*
 * Makes an empty mirror for which ff_mirror_follow() was called, in a section of
 * ff_device_enter(). Its pasid is set before anything is mapped.
 */
int ff_mirror_open(struct ff_mirror *mirror, struct ff_device *ff)
{
	int ret;

	lockdep_assert(srcu_read_lock_held(&ff->unplug));
	mirror->ff = ff;
	mirror->closing = false;
	mirror->counting = false;
	mutex_init(&mirror->lock);
	mutex_init(&mirror->adding);
	INIT_LIST_HEAD(&mirror->spares);
	INIT_LIST_HEAD(&mirror->unlinked);
	/* Looked up without its lock while others add to it. */
	mt_init_flags(&mirror->intervals, MT_FLAGS_USE_RCU);
	mt_init_flags(&mirror->prefer, MT_FLAGS_USE_RCU);
	ff_thrash_init(&mirror->thrash);
	ret = ff_pgtable_init(&mirror->pgt, ff->dev, &ff->counters,
			      ff_dma_is_translated(ff->dev));
	if (ret)
		return ret;
	if (mirror->region)
		mirror->pgt.vram = mirror->region->start -
				   PHYS_PFN(mirror->region->offset);

	/* Notifiers run in reclaim; let lockdep know before that happens. */
	fs_reclaim_acquire(GFP_KERNEL);
	might_lock(&mirror->lock);
	fs_reclaim_release(GFP_KERNEL);
	return 0;
}

/*
 * Lets go of all pages and of all that is mapped for the device, whose context entry is
 * invalid. Who is still at work for it maps nothing any more. The notifiers stay, for
 * they are what keeps the pages until the device holds no translation, and somebody may
 * just be asking one.
 */
void ff_mirror_detach(struct ff_mirror *mirror)
{
	struct ff_interval *interval;
	unsigned long index = 0;
	LIST_HEAD(tables);
	u64 fence;

	scoped_guard(mutex, &mirror->lock)
		WRITE_ONCE(mirror->closing, true);
	ff_often_end(mirror);
	ff_mirror_drop(mirror, 0, FF_PGTABLE_END);
	/* A walk that finds nothing has read the root, too. */
	scoped_guard(mutex, &mirror->lock)
		fence = ff_mirror_flush(mirror, 0, 0, true);
	ff_command_wait(mirror->ff, fence);
	/* What an invalidation has taken out that has not come to this yet. */
	mt_for_each(&mirror->intervals, interval, index, ULONG_MAX) {
		scoped_guard(mutex, &mirror->lock) {
			ff_dma_reap(&mirror->pgt, &interval->dma,
				    ff_interval_start(interval),
				    ff_interval_end(interval), &tables);
			ff_dma_space_free(&mirror->pgt, &interval->dma);
		}
		cond_resched();
	}
	scoped_guard(mutex, &mirror->lock) {
		list_splice_init(&mirror->unlinked, &tables);
		list_splice_init(&mirror->spares, &tables);
	}
	ff_tables_free(&mirror->pgt, &tables);
	ff_pgtable_fini(&mirror->pgt);
}

/* Stops following the mm. The mirror was detached, and nobody uses it any more. */
void ff_mirror_close(struct ff_mirror *mirror)
{
	struct ff_interval *interval;
	unsigned long index = 0;

	mt_for_each(&mirror->intervals, interval, index, ULONG_MAX) {
		mmu_interval_notifier_remove(&interval->notifier);
		kfree(interval);
		ff_count(&mirror->ff->counters, FF_COUNT_NOTIFIERS, -1);
	}
	mtree_destroy(&mirror->intervals);
	mtree_destroy(&mirror->prefer);
}
