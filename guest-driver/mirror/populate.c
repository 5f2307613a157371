// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making pages present: hmm_range_fault() has the CPU side fault them in and
 * says where they are, and the device's page table learns it, unless an
 * invalidation came between. Locks are at the top of mirror/mirror.c.
 */
#include <linux/memremap.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "base/compat.h"
#include "base/trace.h"
#include "base/upward.h"
#include "hw/device.h"
#include "mirror/found.h"
#include "mirror/interval.h"
#include "mirror/invalidate.h"
#include "mirror/populate.h"
#include "mirror/prefer.h"
#include "pgtable/dma.h"
#include "pgtable/pgtable.h"

/*
 * Collisions with invalidations after which to give up for now. Of several pages
 * fewer may have better luck. A single one is asked for again by the device, if it
 * still wants it, and other groups are served in between: no batch takes for ever.
 */
#define FF_TRIES	8

/*
 * The level of the largest leaf for a page that the CPU maps by @order. Other
 * pages of such a leaf may lie outside of what hmm_range_fault() was asked
 * for; but one CPU entry maps them all, and nothing can happen to it without
 * an invalidation of the interval if the leaf lies within it.
 */
static unsigned int ff_leaf_level(const struct ff_interval *interval,
				  unsigned long address, unsigned int order)
{
	unsigned int level = interval->mirror->ff->leaf_level;
	unsigned long start;

	for (; level; level--) {
		start = ALIGN_DOWN(address, FF_LEVEL_SIZE(level));
		if (order >= FF_PT_BITS * level &&
		    start >= ff_interval_start(interval) &&
		    start + FF_LEVEL_SIZE(level) <= ff_interval_end(interval))
			break;
	}
	return level;
}

/*
 * Enters the largest leaf that fits around @address. Returns where it ends, or an
 * error.
 */
static long ff_populate_leaf(struct ff_interval *interval,
			     unsigned long address, unsigned long pfn,
			     unsigned int order, u64 flags)
{
	unsigned long found = ff_found_frame(pfn, address);
	struct ff_pgtable *pgt = &interval->mirror->pgt;
	unsigned int level = ff_leaf_level(interval, address, order);
	unsigned long start, frame;
	int ret;

	flags |= FF_PTE_VALID | FF_PTE_LEAF | FF_PTE_READ;
	if (pfn & HMM_PFN_WRITE)
		flags |= FF_PTE_WRITE;
	/* No CPU maps what is in device memory. */
	if (flags & FF_PTE_WRITE && is_device_private_page(hmm_pfn_to_page(pfn)))
		flags |= FF_PTE_ATOMIC;
	do {
		start = ALIGN_DOWN(address, FF_LEVEL_SIZE(level));
		frame = found - ((address - start) >> PAGE_SHIFT);
		ret = ff_dma_map(pgt, &interval->dma, start, level, frame, flags,
				 &interval->mirror->spares);
		if (!ret)
			return start + FF_LEVEL_SIZE(level);
	} while (ret == -EEXIST && level--);
	return ret;
}

/* Enters what hmm_range_fault() found. Returns 0, or an error. */
static int ff_populate_program(struct ff_interval *interval,
			       const struct ff_span *span,
			       const unsigned long *pfns, u64 flags)
{
	bool together = ff_found_together(interval->mirror, span, pfns);
	unsigned int order;
	unsigned long pfn;
	long address;

	lockdep_assert_held(&interval->mirror->lock);
	for (address = span->start; address < (long)span->end;) {
		pfn = pfns[(address - span->start) >> PAGE_SHIFT];
		if (!(pfn & HMM_PFN_VALID)) {
			address += PAGE_SIZE;
			continue;
		}
		if (ff_found_is_refused(interval->mirror, pfn, address))
			return -EFAULT;
		if (!is_device_private_page(hmm_pfn_to_page(pfn)) &&
		    ff_prefer_awaits_write(interval->mirror, span, address))
			pfn &= ~HMM_PFN_WRITE;
		order = hmm_pfn_to_map_order(pfn);
		if (together)
			order = max(order, FF_PT_BITS);
		address = ff_populate_leaf(interval, address, pfn, order, flags);
		if (address < 0)
			return address;
	}
	return 0;
}

/*
 * Whether a span is one. hmm_range_fault() takes any bits: it ignores a write that is
 * not asked to fault, and goes by frame numbers left in the mask. So what a caller can
 * get wrong is found here, before anything is asked.
 */
bool ff_span_is_sound(const struct ff_span *span)
{
	const unsigned long known = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;

	return !(span->request & ~known) &&
	       span->request != HMM_PFN_REQ_WRITE &&
	       !(span->prefetch && !span->request) &&
	       PAGE_ALIGNED(span->start) && PAGE_ALIGNED(span->end) &&
	       span->start < span->end &&
	       ALIGN_DOWN(span->start, FF_SPAN_SIZE) ==
	       ALIGN_DOWN(span->end - 1, FF_SPAN_SIZE);
}

/*
 * DMA mappings are made of memory that is there at once. If there was none, lets
 * some be reclaimed. Returns whether to try again.
 */
static bool ff_populate_replenish(struct ff_mirror *mirror)
{
	struct page *page;

	if (!mirror->pgt.translated)
		return false;
	page = alloc_page(GFP_KERNEL);
	if (!page)
		return false;
	__free_page(page);
	return true;
}

/**
 * ff_populate_enter() - Enter what was found, unless an invalidation came between
 * @interval: where it is
 * @span: what was looked for
 * @seq: of @interval, before that
 * @pfns: what was found, as hmm_range_fault() says it
 * @flags: software bits of the entries
 *
 * Called with no lock of the driver held.
 *
 * Return: 0; -EBUSY if one came; -EFAULT if the device is not to have some page; as
 * ff_mirror_lock_to_map() and ff_dma_map().
 */
int ff_populate_enter(struct ff_interval *interval, const struct ff_span *span,
		      unsigned long seq, const unsigned long *pfns, u64 flags)
{
	struct ff_mirror *mirror = interval->mirror;
	LIST_HEAD(tables);
	int ret, section;
	u64 fence = 0;

	if (!ff_device_enter(mirror->ff, &section))
		return -ESHUTDOWN;
	ret = ff_mirror_lock_to_map(mirror);
	if (ret)
		goto exit;
	if (mmu_interval_read_retry(&interval->notifier, seq)) {
		ret = -EBUSY;
	} else if (!ff_mirror_reap_passed(mirror, interval, span->start,
					  span->end, &tables)) {
		fence = interval->flush;
		ret = -EBUSY;
	} else {
		ret = ff_populate_program(interval, span, pfns, flags);
		if (mirror->ff->leaf_level && !mirror->pgt.translated)
			ff_leaf_join(&mirror->pgt, span->start, &tables);
	}
	if (!list_empty(&tables))
		fence = ff_mirror_flush(mirror, ALIGN_DOWN(span->start,
							   FF_SPAN_SIZE),
					FF_SPAN_SIZE, true);
	mutex_unlock(&mirror->lock);
	ff_command_wait(mirror->ff, fence);
	ff_tables_free(&mirror->pgt, &tables);
exit:
	ff_device_exit(mirror->ff, section);
	return ret;
}

/*
 * Whether a fault of the CPU at the start of a span takes nothing from the device: what is
 * in device memory would come back.
 */
static bool ff_populate_may_fault(const struct ff_mirror *mirror,
				  const struct hmm_range *range,
				  struct ff_scratch *scratch)
{
	struct hmm_range first = *range;

	if (!mirror->region)
		return true;
	first.end = first.start + PAGE_SIZE;
	scratch->pfns[0] = 0;
	return !ff_range_fault(&first) &&
	       !(scratch->pfns[0] & HMM_PFN_VALID);
}

/* Finds the pages, and faults them in if they are asked for. */
static int ff_populate_find(struct ff_mirror *mirror, const struct ff_span *span,
			    struct hmm_range *range, struct ff_scratch *scratch)
{
	unsigned long pages = (span->end - span->start) >> PAGE_SHIFT;
	unsigned long i, request = span->request;
	int present = 0, ret = 0;

	if (request)
		present = ff_fault_in(mirror, span, false);
	if (present < 0)
		return present;
	if (present)
		request = 0;
	else if (request && pages == FF_SPAN_PAGES &&
		 ff_populate_may_fault(mirror, range, scratch))
		ret = ff_fault_in_huge(mirror, span);
	if (ret)
		return ret;
	if (span->prefetch) {
		range->default_flags = request;
	} else {
		/*
		 * Anew for each try: the last one has left its results here. HMM
		 * retries by itself, too, over its own results. The mask keeps it
		 * from reading "writable" there as "to be written".
		 */
		range->pfn_flags_mask = request;
		for (i = 0; i < pages; i++)
			scratch->pfns[i] = request;
	}

	ret = ff_range_fault(range);
	ff_count(&mirror->ff->counters, FF_COUNT_RANGE_FAULT_CALLS, 1);
	ff_count(&mirror->ff->counters, span->prefetch ?
		 FF_COUNT_RANGE_FAULT_DEFAULT : FF_COUNT_RANGE_FAULT_MASKED, 1);
	ff_count(&mirror->ff->counters, FF_COUNT_RANGE_FAULT_PAGES, pages);
	trace_ff_range_fault(mirror->pasid, span, ret);
	if (!ret && span->request & HMM_PFN_REQ_WRITE)
		ret = ff_found_bring_back(mirror, span, scratch);
	return ret ?: present ? ff_found_check(span, scratch) : 0;
}

/* Returns -EBUSY if an invalidation came between. */
static int ff_populate_try(struct ff_interval *interval,
			   const struct ff_span *span,
			   struct ff_scratch *scratch)
{
	struct ff_mirror *mirror = interval->mirror;
	struct hmm_range range = {
		.notifier = &interval->notifier,
		.start = span->start,
		.end = span->end,
		.hmm_pfns = scratch->pfns,
		.dev_private_owner = mirror->region,
	};
	int ret = ff_populate_find(mirror, span, &range, scratch);

	if (ret)
		return ret;
	static_call_cond(ff_up_reached)(mirror, FF_STAGE_FOUND);
	return ff_populate_enter(interval, span, range.notifier_seq,
				 scratch->pfns, 0);
}

/**
 * ff_populate_until() - Try to make pages present until nothing comes between
 * @interval: where they are
 * @span: which pages
 * @scratch: of the caller, for @try
 * @try: as ff_populate_try()
 *
 * Return: as ff_populate().
 */
int ff_populate_until(struct ff_interval *interval, const struct ff_span *span,
		      struct ff_scratch *scratch, ff_populate_try_t *try)
{
	struct ff_mirror *mirror = interval->mirror;
	unsigned int tries = 0;
	int ret;

	for (;;) {
		ret = try(interval, span, scratch);
		if (ret == -ENOSPC)
			ret = tries < FF_TRIES &&
			      ff_populate_replenish(mirror) ? -EBUSY : -ENOMEM;
		if (ret != -EBUSY)
			return ret;
		tries++;
		ff_count(&mirror->ff->counters, FF_COUNT_RETRIES, 1);
		trace_ff_retry(mirror->pasid, span, tries);
		if (READ_ONCE(mirror->closing))
			return -ESHUTDOWN;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (tries >= FF_TRIES)
			return -EAGAIN;
		cond_resched();
	}
}

/**
 * ff_populate() - Make pages present on the CPU side and map them
 * @mirror: mirror
 * @span: which pages, and for what
 * @scratch: of the caller
 *
 * To be called by a thread of the mm, which keeps it from going away, and with
 * no lock held.
 *
 * Nothing here tells reclaim that the device uses a page: interval notifiers are
 * not asked for accessed bits, and a fault marks the page accessed only once. So
 * what the device uses and the CPU does not looks cold, is reclaimed first, and
 * faults in again.
 *
 * hmm_range_fault() faults from the first page that needs it to the end of the
 * PMD or of the range, all with the flags of that page, and only then looks at
 * the flags of the next one. So all pages of a span ask for the same: a page
 * in between that nobody wants would be faulted in, and one that is to be read
 * would have its COW broken by a write next to it.
 *
 * Return: 0 if all of it was mapped; something may already have been taken
 * out again. -EAGAIN if invalidations kept coming between. -EFAULT or -EPERM if
 * some page cannot be had. -EINTR if the caller was killed, -ERESTARTSYS if another
 * signal came while somebody was waited for, -ESHUTDOWN if the mirror closes,
 * -ENOMEM; -EIO from ff_dma_map(). -EINVAL, and a warning, if the span is none.
 */
int ff_populate(struct ff_mirror *mirror, const struct ff_span *span,
		struct ff_scratch *scratch)
{
	struct ff_interval *interval;

	if (WARN_ON_ONCE(!ff_span_is_sound(span)))
		return -EINVAL;
	/* With five levels of page tables a process has more than the device. */
	if (span->end > FF_PGTABLE_END)
		return -EFAULT;
	interval = ff_interval_get(mirror, span->start);
	if (IS_ERR(interval))
		return PTR_ERR(interval);
	if (span->request)
		ff_prefer_move(mirror, span);
	return ff_populate_until(interval, span, scratch, ff_populate_try);
}

struct ff_scratch *ff_scratch_alloc(void)
{
	return kmalloc_obj(struct ff_scratch, GFP_KERNEL_ACCOUNT);
}
