// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mirror: how a device page table follows the page tables of an mm.
 *
 * Two things happen to it. The CPU side changes, and ff_mirror_invalidate_*()
 * take out what is no longer true. The device wants more, and
 * ff_populate() has the CPU side make pages present and enters them. They
 * meet under one lock, with the sequence number of the interval notifier to
 * tell whether what hmm_range_fault() found is still so.
 *
 * All locks of the driver, outermost first:
 *
 *	ctx->detach			mutex: the end of a context
 *	dmirror->lock			mutex: a selftest file, see testing/dmirror.h
 *	ctx->pins.lock			mutex: registered buffers, see file/pin.h
 *	mirror->adding			mutex: notifiers, see mirror/interval.c
 *	mmap_lock (or that of a VMA)
 *	  ctx->lock			mutex: queues of a context, see file/ctx.h
 *	    i_mmap_rwsem and on		when doorbells are unmapped
 *	      mirror->lock		mutex: page table of a context
 *	        commands->lock		spinlock: command queue
 *	        i_pages and on		what folio_mark_dirty() takes
 *	      look->lock		spinlock: a snapshot's notifier
 *	    xa_lock of ff->contexts	spinlock: contexts by PASID
 *	      ff->queue_lock		spinlock: groups of faults
 *
 * Around what is done for a file there is an SRCU section, ff->unplug, whose end
 * unbinding waits for before it takes any of these.
 *
 * mirror->lock is taken in notifiers, and so below whatever mm holds there and
 * inside reclaim. Under it nothing is allocated that could wait (a split takes a
 * table if there is one at once), no fault is taken, no notifier is inserted or
 * removed, and nothing is taken but commands->lock, spinlocks of the DMA API, and
 * those of folio_mark_dirty(), which mm calls with a PTE's lock held, and so
 * below all that it holds in a notifier. look->lock is the one other lock that
 * notifiers take. ctx->detach is held while the end of the fault service is waited
 * for, and taken only in a work item or when the driver is unbound. No lock but
 * mmap_lock is held while hmm_range_fault() runs, and none while a process waits
 * for what a program has submitted. That the device answers a command is waited
 * for under any mutex but mirror->lock, and polled for under that one, behind an
 * IOMMU, by an invalidation that may not block: the device answers within a time
 * limit, or counts as lost.
 *
 * A page is mapped without a reference or a pin. What keeps it is this: an
 * entry that is valid, seen under mirror->lock, means that no invalidation of
 * its address has got past mirror->lock since the CPU's page table was found
 * to map that page; and mm does not drop the CPU's mapping, nor its reference,
 * before the invalidation has returned. So a page found in the page table
 * under the lock may be used until the lock is dropped.
 *
 * That settles when pages are marked dirty. hmm_range_fault() reports a page
 * as writable that is clean (after MADV_FREE, or swapped in and exclusive), so
 * the device's writes would be lost to reclaim unless the driver marks it.
 * Here this happens in the first pass, under the lock, as the writable entry
 * is taken out. It cannot wait for the flush in the second pass: another
 * invalidation of the same address finds the entry gone, returns, and the page
 * may be freed, or judged clean and dropped, while this one is still on its
 * way. Nor does it come too early, although the device may write until the
 * flush. To lose such a write the mark would have to be cleared before the
 * flush is done; but all that clean a page which is mapped (folio_mkclean(),
 * try_to_unmap(), MADV_FREE) invalidate its address in every mm first, and that
 * waits for ff_window.flush, the last flush posted for the window, whoever
 * posted it. umem_odp.c can mark after the flush because it holds its mutex
 * across both, which two passes rule out.
 *
 * Behind an IOMMU the second pass takes the lock again, to undo the DMA mappings
 * of what the first one took out (pgtable/dma.c). A page is then never freed while
 * the IOMMU still lets the device reach it, if the IOMMU is strict
 * (iommu.strict=1); otherwise it follows a little later, and that the device has
 * flushed its TLBs has to do.
 */
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "base/trace.h"
#include "hw/device.h"
#include "mirror/interval.h"
#include "mirror/mirror.h"
#include "pgtable/dma.h"
#include "testing/break.h"

/* --- The CPU side changes ------------------------------------------------- */

/* A leaf that the device could write was taken out; see the top. */
static void ff_mirror_writable(void *context, unsigned long frame,
			       unsigned long pages)
{
	unsigned long end = frame + pages;
	struct ff_mirror *mirror = context;
	struct folio *folio;

	if (ff_break_dirty)
		end = frame;
	/* A joined leaf maps several. */
	for (; frame < end; frame = folio_pfn(folio) + folio_nr_pages(folio)) {
		folio = page_folio(pfn_to_page(frame));
		folio_mark_dirty(folio);
	}
	ff_count(&mirror->ff->counters, FF_COUNT_PAGES_DIRTIED, pages);
}

static u64 ff_mirror_post(struct ff_mirror *mirror, unsigned long start,
			  unsigned long length, bool may_sleep)
{
	struct ff_command command = {
		.opcode = FF_CMD_INVALIDATE,
		.pasid = cpu_to_le32(mirror->pasid),
		.address = cpu_to_le64(start),
		.value = cpu_to_le64(length),
	};

	return ff_command_submit(mirror->ff, &command, may_sleep);
}

/**
 * ff_mirror_flush() - Post a flush of the device's TLBs
 * @mirror: mirror; who changed the page table still holds its lock
 * @start: first address
 * @length: in bytes; 0 means all of the PASID
 *
 * Return: the fence that is passed when it is done.
 */
u64 ff_mirror_flush(struct ff_mirror *mirror, unsigned long start,
		    unsigned long length)
{
	return ff_mirror_post(mirror, start, length, true);
}

/*
 * Undoes the DMA mappings of what was taken out of a range; the flush for it has
 * passed, and the mirror's lock is held. Returns the fence after which the tables
 * that became empty can be freed.
 */
static u64 ff_mirror_reap(struct ff_mirror *mirror, unsigned long start,
			  unsigned long end, struct list_head *tables)
{
	LIST_HEAD(empty);

	ff_dma_reap(&mirror->pgt, start, end, &empty);
	if (list_empty(&empty))
		return 0;
	list_splice(&empty, tables);
	return ff_mirror_flush(mirror, start, end - start);
}

/*
 * What remains to be done when an invalidation has posted its flush. While it
 * lasts nothing is mapped in its window, so what is stale in its range was taken
 * out before @fence, by whom ever: none of it is left to mm's use when it ends.
 */
static void ff_mirror_settle(struct ff_mirror *mirror, unsigned long start,
			     unsigned long end, u64 fence,
			     struct list_head *tables)
{
	ff_command_wait(mirror->ff, fence);
	if (mirror->pgt.translated) {
		mutex_lock(&mirror->lock);
		fence = ff_mirror_reap(mirror, start, end, tables);
		mutex_unlock(&mirror->lock);
		ff_command_wait(mirror->ff, fence);
	}
	ff_tables_free(&mirror->pgt, tables);
}

/* Takes out a range, under the mirror's lock. Returns the fence to wait for. */
static u64 ff_mirror_take(struct ff_window *window,
			  const struct mmu_notifier_range *range,
			  unsigned long seq, struct ff_gather *gather)
{
	bool may_sleep = mmu_notifier_range_blockable(range);
	struct ff_mirror *mirror = window->mirror;
	u64 fence;

	mmu_interval_set_seq(&window->notifier, seq);
	ff_gather_init(gather, ff_mirror_writable, mirror);
	if (!ff_break_keeps(range))
		ff_pgtable_zap(&mirror->pgt,
			       max(range->start, ff_window_start(window)),
			       min(range->end, ff_window_end(window)), gather);
	if (gather->pages) {
		ff_count(&mirror->ff->counters, FF_COUNT_INVALIDATIONS_FLUSHED,
			 1);
		window->flush = ff_mirror_post(mirror, gather->start,
					       gather->end - gather->start,
					       may_sleep);
	}
	/* Where a test wants it not to wait, it does for tables all the same. */
	fence = ff_break_flush && list_empty(&gather->tables) ? 0 :
		window->flush;
	trace_ff_invalidate(mirror->pasid, range, gather->pages, fence);
	return fence;
}

/*
 * For the OOM reaper, which must not sleep and tries again a little later if it is
 * told that it would have to: if somebody holds the lock, if the command queue is
 * full, or if the device does not answer at once. What has been taken out by then
 * stays out, and tables stay until the mirror is detached, for to free one may sleep.
 * Of a device that does not answer at all the others take care.
 */
static bool ff_mirror_invalidate_at_once(struct ff_window *window,
					 const struct mmu_notifier_range *range,
					 unsigned long seq)
{
	struct ff_mirror *mirror = window->mirror;
	struct ff_device *ff = mirror->ff;
	struct ff_gather gather;
	bool passed;
	u64 fence;

	ff_count(&ff->counters, FF_COUNT_NONBLOCKABLE, 1);
	if (!ff_command_reserved(ff) || !mutex_trylock(&mirror->lock)) {
		ff_count(&ff->counters, FF_COUNT_NONBLOCKABLE_REFUSED, 1);
		return false;
	}
	fence = ff_mirror_take(window, range, seq, &gather);
	passed = ff_command_poll(ff, fence);
	list_splice(&gather.tables, &mirror->unlinked);
	if (passed)
		ff_dma_reap(&mirror->pgt, range->start, range->end,
			    &mirror->unlinked);
	mutex_unlock(&mirror->lock);
	ff_count(&ff->counters, FF_COUNT_NONBLOCKABLE_REFUSED, !passed);
	return passed;
}

/*
 * The device is used whether it is being unbound or not, for the pages must not be
 * kept: unbinding takes out the rest of them and then waits once more.
 */
static bool
ff_mirror_invalidate_start(struct mmu_interval_notifier *notifier,
			   const struct mmu_notifier_range *range,
			   unsigned long seq,
			   struct mmu_interval_notifier_finish **finish)
{
	struct ff_window *window =
		container_of(notifier, struct ff_window, notifier);
	unsigned long start = max(range->start, ff_window_start(window));
	unsigned long end = min(range->end, ff_window_end(window));
	struct ff_mirror *mirror = window->mirror;
	struct ff_device *ff = mirror->ff;
	int section = srcu_read_lock(&ff->unplug);
	struct ff_gather gather;
	bool done = true;
	u64 fence;

	ff_count(&ff->counters, FF_COUNT_INVALIDATIONS, 1);
	if (!mmu_notifier_range_blockable(range)) {
		done = ff_mirror_invalidate_at_once(window, range, seq);
		goto exit;
	}
	mutex_lock(&mirror->lock);
	fence = ff_mirror_take(window, range, seq, &gather);
	mutex_unlock(&mirror->lock);
	if (ff_command_passed(ff, fence) ||
	    test_and_set_bit_lock(0, &window->finishing)) {
		ff_mirror_settle(mirror, start, end, fence, &gather.tables);
		goto exit;
	}
	window->section = section;
	window->start = start;
	window->end = end;
	window->fence = fence;
	list_splice(&gather.tables, &window->tables);
	*finish = &window->finish;
	return true;

exit:
	ff_device_exit(ff, section);
	return done;
}

static void
ff_mirror_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	struct ff_window *window =
		container_of(finish, struct ff_window, finish);
	struct ff_device *ff = window->mirror->ff;
	int section = window->section;

	ff_mirror_settle(window->mirror, window->start, window->end,
			 window->fence, &window->tables);
	clear_bit_unlock(0, &window->finishing);
	ff_device_exit(ff, section);
}

const struct mmu_interval_notifier_ops ff_mirror_ops = {
	.invalidate_start = ff_mirror_invalidate_start,
	.invalidate_finish = ff_mirror_invalidate_finish,
};

/* --- Letting go ------------------------------------------------------------ */

/**
 * ff_mirror_reap_passed() - Undo DMA mappings if their flush has passed
 * @mirror: mirror, with its lock held
 * @window: window that the range lies in
 * @start: first address
 * @end: end
 * @tables: tables to be freed after a flush
 *
 * Return: false if something in the window is still to be flushed.
 */
bool ff_mirror_reap_passed(struct ff_mirror *mirror,
			   const struct ff_window *window, unsigned long start,
			   unsigned long end, struct list_head *tables)
{
	if (!mirror->pgt.stale)
		return true;
	if (!ff_command_passed(mirror->ff, window->flush))
		return false;
	ff_dma_reap(&mirror->pgt, start, end, tables);
	return true;
}

/*
 * Undoes what can be undone of a range in one window, and so holds the lock no
 * longer than an invalidation does. Returns the fence after which the tables can
 * be freed.
 */
static u64 ff_mirror_reap_window(struct ff_window *window, unsigned long start,
				 unsigned long end, struct list_head *tables)
{
	struct ff_mirror *mirror = window->mirror;
	LIST_HEAD(empty);
	u64 fence = 0;

	start = max(start, ff_window_start(window));
	end = min(end, ff_window_end(window));
	mutex_lock(&mirror->lock);
	ff_mirror_reap_passed(mirror, window, start, end, &empty);
	if (!list_empty(&empty))
		fence = ff_mirror_flush(mirror, start, end - start);
	mutex_unlock(&mirror->lock);
	list_splice(&empty, tables);
	return fence;
}

/*
 * As ff_mirror_settle(), outside of an invalidation. What was mapped and taken out
 * again meanwhile is for the invalidation that did it, and if there is some in a
 * window, what else is stale there stays until an invalidation comes by.
 */
static void ff_mirror_settle_dropped(struct ff_mirror *mirror,
				     unsigned long start, unsigned long end,
				     u64 fence, struct list_head *tables)
{
	unsigned long index = start;
	struct ff_window *window;

	ff_command_wait(mirror->ff, fence);
	if (mirror->pgt.translated) {
		mt_for_each(&mirror->windows, window, index, end - 1) {
			fence = max(fence,
				    ff_mirror_reap_window(window, start, end,
							  tables));
			cond_resched();
		}
		ff_command_wait(mirror->ff, fence);
	}
	ff_tables_free(&mirror->pgt, tables);
}

/*
 * Takes out what is mapped in one window, and so holds the lock no longer than an
 * invalidation does. Returns the fence after which the device has none of it.
 */
static u64 ff_mirror_zap_window(struct ff_window *window, unsigned long start,
				unsigned long end, struct list_head *tables)
{
	struct ff_mirror *mirror = window->mirror;
	struct ff_gather gather;
	u64 fence;

	start = max(start, ff_window_start(window));
	end = min(end, ff_window_end(window));
	ff_gather_init(&gather, ff_mirror_writable, mirror);
	mutex_lock(&mirror->lock);
	ff_pgtable_zap(&mirror->pgt, start, end, &gather);
	if (gather.pages)
		window->flush = ff_mirror_flush(mirror, gather.start,
						gather.end - gather.start);
	fence = window->flush;
	mutex_unlock(&mirror->lock);
	list_splice(&gather.tables, tables);
	return fence;
}

/**
 * ff_mirror_drop() - Let go of pages
 * @mirror: mirror
 * @start: first address
 * @end: end
 *
 * Returns when the device has no translation of them any more, whoever took it
 * out. An invalidation that comes meanwhile finds nothing, and waits likewise.
 */
void ff_mirror_drop(struct ff_mirror *mirror, unsigned long start,
		    unsigned long end)
{
	unsigned long index = start;
	struct ff_window *window;
	LIST_HEAD(tables);
	u64 fence = 0;

	mt_for_each(&mirror->windows, window, index, end - 1) {
		fence = max(fence, ff_mirror_zap_window(window, start, end,
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

	mutex_lock(&mirror->lock);
	while (!mirror->closing &&
	       list_count_nodes(&mirror->spares) < FF_PGTABLE_SPARES) {
		mutex_unlock(&mirror->lock);
		table = ff_table_alloc(&mirror->pgt, GFP_KERNEL_ACCOUNT);
		if (!table)
			return -ENOMEM;
		mutex_lock(&mirror->lock);
		list_add(&table->link, &mirror->spares);
	}
	if (!mirror->closing)
		return 0;
	list_splice_init(&mirror->spares, &tables);
	mutex_unlock(&mirror->lock);
	ff_tables_free(&mirror->pgt, &tables);
	return -ESHUTDOWN;
}

/**
 * ff_mirror_follow() - Prepare to follow the calling process
 * @mm: its address space
 *
 * The first notifier of an mm, and only that, gives way to any signal. This is the
 * first, of no range, as mmu_interval_notifier_insert() would do it; so no fault
 * fails because the process was stopped meanwhile. Waits for the mmap lock.
 *
 * Return: 0, -ENOMEM, or -ERESTARTSYS if a signal came.
 */
int ff_mirror_follow(struct mm_struct *mm)
{
	int ret = mmu_notifier_register(NULL, mm);

	return ret == -EINTR ? -ERESTARTSYS : ret;
}

/**
 * ff_mirror_open() - Make an empty mirror
 * @mirror: zeroed; pasid is set by the caller before anything is mapped
 * @ff: device; the caller is in a section of ff_device_enter()
 * @mm: address space to follow, for which ff_mirror_follow() was called
 *
 * Return: 0 or -ENOMEM.
 */
int ff_mirror_open(struct ff_mirror *mirror, struct ff_device *ff,
		   struct mm_struct *mm)
{
	int ret;

	mirror->ff = ff;
	mutex_init(&mirror->lock);
	mutex_init(&mirror->adding);
	INIT_LIST_HEAD(&mirror->spares);
	INIT_LIST_HEAD(&mirror->unlinked);
	/* Looked up without its lock while others add to it. */
	mt_init_flags(&mirror->windows, MT_FLAGS_USE_RCU);
	ret = ff_pgtable_init(&mirror->pgt, ff->dev, &ff->counters,
			      ff_dma_is_translated(ff->dev));
	if (ret)
		return ret;
	mmgrab(mm);
	mirror->mm = mm;

	/* Notifiers run in reclaim; let lockdep know before that happens. */
	fs_reclaim_acquire(GFP_KERNEL);
	might_lock(&mirror->lock);
	fs_reclaim_release(GFP_KERNEL);
	return 0;
}

/**
 * ff_mirror_detach() - Let go of all pages and of all that is mapped for the device
 * @mirror: mirror; the device's context entry is invalid
 *
 * Who is still at work for it maps nothing any more. The notifiers stay, for they
 * are what keeps the pages until the device holds no translation, and somebody may
 * just be asking one.
 */
void ff_mirror_detach(struct ff_mirror *mirror)
{
	LIST_HEAD(tables);

	mutex_lock(&mirror->lock);
	mirror->closing = true;
	mutex_unlock(&mirror->lock);
	ff_mirror_drop(mirror, 0, FF_PGTABLE_END);
	/* A walk that finds nothing has read the root, too. */
	ff_command_wait(mirror->ff, ff_mirror_flush(mirror, 0, 0));
	mutex_lock(&mirror->lock);
	/* What an invalidation has taken out that has not come to this yet. */
	ff_dma_reap(&mirror->pgt, 0, FF_PGTABLE_END, &tables);
	list_splice_init(&mirror->unlinked, &tables);
	list_splice_init(&mirror->spares, &tables);
	mutex_unlock(&mirror->lock);
	ff_tables_free(&mirror->pgt, &tables);
	ff_pgtable_fini(&mirror->pgt);
}

/**
 * ff_mirror_close() - Stop following the mm
 * @mirror: mirror that was detached, and that nobody uses any more
 */
void ff_mirror_close(struct ff_mirror *mirror)
{
	struct ff_window *window;
	unsigned long index = 0;

	mt_for_each(&mirror->windows, window, index, ULONG_MAX) {
		mmu_interval_notifier_remove(&window->notifier);
		kfree(window);
		ff_count(&mirror->ff->counters, FF_COUNT_NOTIFIERS, -1);
	}
	mtree_destroy(&mirror->windows);
	mmdrop(mirror->mm);
}
