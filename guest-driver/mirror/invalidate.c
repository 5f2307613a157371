// SPDX-License-Identifier: GPL-2.0-only
/*
 * Invalidation: the CPU's page table changes, and the device's follows.
 */
#include <linux/mmu_notifier.h>

#include "base/trace.h"
#include "hw/device.h"
#include "memory/region.h"
#include "mirror/interval.h"
#include "mirror/invalidate.h"
#include "pgtable/dma.h"

/**
 * DOC: Lifetime of a mapped page
 *
 * A page is mapped without a reference or a pin. An entry that is valid, seen
 * under mirror->lock, means that no invalidation of its address has got past that
 * lock since the CPU's page table was found to map the page; and mm drops neither
 * the CPU's mapping nor its reference before the invalidation has returned. So a
 * page found in the page table may be used until the lock is dropped.
 *
 * Behind an IOMMU the second pass takes the lock again, to undo the DMA mappings
 * of what the first one took out (pgtable/dma.c). That waits for the IOMMU, so a
 * page is not freed while the IOMMU still lets the device reach it. Where DMA
 * addresses in a row were not to be had, an IOMMU in lazy mode may let it for some
 * time yet, and the device's own flush is what keeps it away.
 */

/**
 * DOC: Dirtying
 *
 * hmm_range_fault() reports a page as writable that is clean (after MADV_FREE, or
 * swapped in and exclusive). Reclaim would drop what the device writes there, so
 * the driver marks each page dirty whose writable entry it takes out, under the lock;
 * in an invalidation that is the first pass.
 *
 * The second pass would be too late. Another invalidation of the same address
 * finds the entry gone and returns, and the page may be freed, or judged clean and
 * dropped, while this one still waits for the flush.
 *
 * The first pass is not too early, although the device may write until the flush.
 * A write behind the mark is lost only if somebody clears the mark before the flush
 * is done. But all that clean a mapped page (folio_mkclean(), try_to_unmap(),
 * MADV_FREE) first invalidate its address in every mm, and that waits for the last
 * flush posted for the interval, whoever posted it (&struct ff_interval.flush). umem_odp.c can mark
 * after the flush because it holds its mutex across both, which two passes rule out.
 */
static void ff_frames_mark_dirty(unsigned long frame, unsigned long pages)
{
	unsigned long end = frame + pages;
	struct folio *folio;

	/* A joined leaf may map several folios. */
	for (; frame < end; frame = folio_pfn(folio) + folio_nr_pages(folio)) {
		folio = page_folio(pfn_to_page(frame));
		folio_mark_dirty(folio);
	}
}

DEFINE_STATIC_CALL(ff_mark_dirty, ff_frames_mark_dirty);

static void ff_mirror_mark_dirty(void *context, unsigned long frame,
				 unsigned long pages)
{
	struct ff_mirror *mirror = context;

	static_call(ff_mark_dirty)(frame, pages);
	ff_count(&mirror->ff->counters, FF_COUNT_PAGES_DIRTIED, pages);
}

/*
 * Posts a flush of the device's TLBs, and returns the fence that is passed when it is
 * done. Who changed the page table still holds the lock. A @length of 0 means all of the
 * PASID.
 */
u64 ff_mirror_flush(struct ff_mirror *mirror, unsigned long start,
		    unsigned long length, bool may_sleep)
{
	struct ff_command command = {
		.opcode = FF_CMD_INVALIDATE,
		.pasid = cpu_to_le32(mirror->pasid),
		.address = cpu_to_le64(start),
		.value = cpu_to_le64(length),
	};

	lockdep_assert_held(&mirror->lock);
	return ff_command_submit(mirror->ff, &command, may_sleep);
}

/*
 * Takes out what is mapped of a range in one interval, but for entries with some bit of
 * @keep; @gather says what that was.
 */
void ff_interval_zap(struct ff_interval *interval, unsigned long start,
		     unsigned long end, u64 keep, struct ff_gather *gather)
{
	struct ff_mirror *mirror = interval->mirror;

	lockdep_assert_held(&mirror->lock);
	ff_gather_init(gather, ff_mirror_mark_dirty, mirror);
	gather->keep = keep;
	ff_pgtable_zap(&mirror->pgt, max(start, ff_interval_start(interval)),
		       min(end, ff_interval_end(interval)), gather);
}

/*
 * Posts the flush for what ff_interval_zap() took out, under the same lock. Returns the
 * fence of the last flush in the interval: who finds an entry gone waits for who took
 * it out.
 */
u64 ff_interval_flush(struct ff_interval *interval,
		      const struct ff_gather *gather, bool may_sleep)
{
	lockdep_assert_held(&interval->mirror->lock);
	if (gather->pages)
		interval->flush = ff_mirror_flush(interval->mirror,
						  gather->start,
						  gather->end - gather->start,
						  may_sleep);
	return interval->flush;
}

/*
 * What remains to be done when an invalidation has posted its flush. While it
 * lasts nothing is mapped in its interval, so what is stale in its range was taken
 * out before @fence, by whom ever: none of it is left to mm's use when it ends.
 * The DMA mappings are undone, and tables that become empty with them are freed
 * after a flush of their own.
 */
static void ff_interval_settle(struct ff_interval *interval,
			       unsigned long start, unsigned long end,
			       u64 fence, struct list_head *tables)
{
	struct ff_mirror *mirror = interval->mirror;
	LIST_HEAD(empty);

	start = max(start, ff_interval_start(interval));
	end = min(end, ff_interval_end(interval));
	ff_command_wait(mirror->ff, fence);
	if (mirror->pgt.translated) {
		fence = 0;
		scoped_guard(mutex, &mirror->lock) {
			ff_dma_reap(&mirror->pgt, &interval->dma, start, end,
				    &empty);
			if (!list_empty(&empty))
				fence = ff_mirror_flush(mirror, start,
							end - start, true);
		}
		list_splice(&empty, tables);
		ff_command_wait(mirror->ff, fence);
	}
	ff_tables_free(&mirror->pgt, tables);
}

static void ff_invalidate_told(struct ff_mirror *mirror,
			       const struct mmu_notifier_range *range,
			       const struct ff_gather *gather, u64 fence)
{
	ff_count(&mirror->ff->counters, FF_COUNT_INVALIDATIONS_FLUSHED,
		 gather->pages != 0);
	trace_ff_invalidate(mirror->pasid, range, gather->pages, fence);
}

/*
 * For the OOM reaper and process_mrelease(2), which must not sleep, and try again a
 * little later if they are told that they would have to: if somebody holds the lock,
 * if the command queue is full, or if the device does not answer at once. What has
 * been taken out by then stays out, and tables stay until the mirror is detached, for
 * to free one may sleep. Of a device that does not answer at all the others take care.
 */
static bool ff_invalidate_at_once(struct ff_interval *interval,
				  const struct mmu_notifier_range *range,
				  unsigned long seq)
{
	struct ff_mirror *mirror = interval->mirror;
	struct ff_device *ff = mirror->ff;
	struct ff_gather gather;
	bool passed = false;
	u64 fence;

	guard(srcu)(&ff->unplug);
	ff_count(&ff->counters, FF_COUNT_NONBLOCKABLE, 1);
	if (!ff_command_reserve(ff))
		goto exit;
	if (mutex_trylock(&mirror->lock)) {
		mmu_interval_set_seq(&interval->notifier, seq);
		ff_interval_zap(interval, range->start, range->end, 0, &gather);
		fence = ff_interval_flush(interval, &gather, false);
		ff_invalidate_told(mirror, range, &gather, fence);
		passed = ff_command_poll(ff, fence);
		list_splice(&gather.tables, &mirror->unlinked);
		if (passed)
			ff_dma_reap(&mirror->pgt, &interval->dma,
				    max(range->start,
					ff_interval_start(interval)),
				    min(range->end, ff_interval_end(interval)),
				    &mirror->unlinked);
		mutex_unlock(&mirror->lock);
	}
	ff_command_unreserve(ff);
exit:
	ff_count(&ff->counters, FF_COUNT_NONBLOCKABLE_REFUSED, !passed);
	return passed;
}

/*
 * Leaves the wait for the flush to the second pass, so that one invalidation of
 * several intervals waits for all of them at once. False if there is nothing to wait
 * for, or another invalidation of the interval has the slot.
 */
static bool ff_interval_defer(struct ff_interval *interval, u64 fence,
			      struct list_head *tables)
{
	if (ff_command_passed(interval->mirror->ff, fence) ||
	    test_and_set_bit_lock(0, &interval->finishing))
		return false;
	interval->fence = fence;
	list_splice(tables, &interval->tables);
	return true;
}

/*
 * Whether it is for ff_exclusive_take(), which asks for a page for the device. What the
 * device has of it goes as ever, but there is no reason to look for the page again: the
 * one who asks has it locked.
 */
static bool ff_invalidate_is_own(const struct ff_mirror *mirror,
				 const struct mmu_notifier_range *range)
{
	return range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == mirror;
}

/* What stays of what is invalidated: pages go to device memory, but those that are there. */
static u64 ff_invalidate_keeps(const struct ff_mirror *mirror,
			       const struct mmu_notifier_range *range)
{
	return range->event == MMU_NOTIFY_MIGRATE && mirror->region &&
	       range->owner == ff_region_outward(mirror->region) ?
		FF_PTE_DEVICE : 0;
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
	struct ff_interval *interval =
		container_of(notifier, struct ff_interval, notifier);
	struct ff_mirror *mirror = interval->mirror;
	struct ff_device *ff = mirror->ff;
	struct ff_gather gather;
	int section;
	u64 fence;

	ff_count(&ff->counters, FF_COUNT_INVALIDATIONS, 1);
	if (!mmu_notifier_range_blockable(range))
		return ff_invalidate_at_once(interval, range, seq);

	section = srcu_read_lock(&ff->unplug);
	mutex_lock(&mirror->lock);
	if (!ff_invalidate_is_own(mirror, range))
		mmu_interval_set_seq(notifier, seq);
	ff_interval_zap(interval, range->start, range->end,
			ff_invalidate_keeps(mirror, range), &gather);
	fence = ff_interval_flush(interval, &gather, true);
	mutex_unlock(&mirror->lock);

	ff_invalidate_told(mirror, range, &gather, fence);
	if (ff_interval_defer(interval, fence, &gather.tables)) {
		interval->section = section;
		interval->start = range->start;
		interval->end = range->end;
		*finish = &interval->finish;
	} else {
		ff_interval_settle(interval, range->start, range->end, fence,
				   &gather.tables);
		ff_device_exit(ff, section);
	}
	return true;
}

static void
ff_mirror_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	struct ff_interval *interval =
		container_of(finish, struct ff_interval, finish);
	struct ff_device *ff = interval->mirror->ff;
	int section = interval->section;

	ff_interval_settle(interval, interval->start, interval->end,
			   interval->fence, &interval->tables);
	clear_bit_unlock(0, &interval->finishing);
	ff_device_exit(ff, section);
}

const struct mmu_interval_notifier_ops ff_mirror_ops = {
	.invalidate_start = ff_mirror_invalidate_start,
	.invalidate_finish = ff_mirror_invalidate_finish,
};
