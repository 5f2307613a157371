// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mirror: how a device page table follows the page tables of an mm.
 *
 * Two things happen to it. The CPU side changes, and ff_mirror_invalidate_*()
 * take out what is no longer true. The device wants more, and
 * ff_mirror_fault() has the CPU side make pages present and enters them. They
 * meet under one lock, with the sequence number of the interval notifier to
 * tell whether what hmm_range_fault() found is still so.
 *
 * All locks of the driver, outermost first:
 *
 *	ctx->detach			mutex: the end of a context
 *	dmirror->lock			mutex: a selftest file, see ff_dmirror.h
 *	ctx->pins.lock			mutex: registered buffers, see ff_pin.h
 *	mmap_lock (or that of a VMA)
 *	  ctx->lock			mutex: queues of a context, see ff_ctx.h
 *	    i_mmap_rwsem and on		when doorbells are unmapped
 *	      mirror->lock		mutex: page table of a context
 *	        commands->lock		spinlock: command queue
 *	    ff->queue_lock		spinlock: groups of faults
 *
 * mirror->lock is taken in notifiers, and so below whatever mm holds there and
 * inside reclaim. Under it nothing is allocated that could wait (a split takes a
 * table if there is one at once), no fault is taken, no notifier is inserted or
 * removed, and of locks only commands->lock is taken. The others
 * are never taken in a notifier. ctx->detach is held while the end of the fault
 * service is waited for, and taken only in a work item or when the driver is
 * unbound. No lock is held while hmm_range_fault() runs but mmap_lock, and none
 * while a process waits for a fence.
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
 */
#include <linux/hugetlb.h>
#include <linux/mmu_notifier.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "ff_drv.h"
#include "ff_leaf.h"
#include "ff_mirror.h"
#include "ff_trace.h"

/*
 * What one notifier covers. An invalidation anywhere in a window makes faults
 * in it start over, so not much more; each window costs a notifier, a walk of
 * the interval tree, and a wait in mmu_interval_notifier_remove() at the end,
 * so not much less. 64 MiB are 32 calls of hmm_range_fault() and 16 notifiers
 * for each GiB in use.
 */
#define FF_WINDOW_SIZE	SZ_64M

static bool break_dirty;
module_param_unsafe(break_dirty, bool, 0444);
MODULE_PARM_DESC(break_dirty, "Do not mark pages dirty, and so lose data, to show that tests notice");

/* Collisions with invalidations after which to ask for fewer pages. */
#define FF_TRIES	8

/**
 * struct ff_window - A notifier and what belongs to it
 * @notifier: registered as long as the window is in &struct ff_mirror.windows
 * @mirror: whose window it is
 * @flush: fence of the last flush posted for an address in the window, under
 *	mirror->lock; who finds an entry already gone waits for it
 * @finishing: bit 0 says that the members below are in use. Invalidations run
 *	side by side, but it is not worth more than one slot: the others wait
 *	at once instead of in the second pass.
 * @finish: for the second pass
 * @fence: what the second pass waits for
 * @tables: what it frees then
 */
struct ff_window {
	struct mmu_interval_notifier notifier;
	struct ff_mirror *mirror;
	u64 flush;
	unsigned long finishing;
	struct mmu_interval_notifier_finish finish;
	u64 fence;
	struct list_head tables;
};

/*
 * The one place that knows how the device reaches a frame. ff_probe() has
 * made sure that bus addresses are physical addresses.
 */
static dma_addr_t ff_frame_to_dma(unsigned long frame)
{
	return PFN_PHYS(frame);
}

static unsigned long ff_window_start(const struct ff_window *window)
{
	return window->notifier.interval_tree.start;
}

static unsigned long ff_window_end(const struct ff_window *window)
{
	return window->notifier.interval_tree.last + 1;
}

/* --- The CPU side changes ------------------------------------------------- */

/* A leaf that the device could write was taken out; see the top. */
static void ff_mirror_writable(void *context, u64 entry, unsigned int level)
{
	unsigned long frame = PHYS_PFN(entry & FF_PTE_ADDRESS);
	unsigned long end = frame + FF_LEVEL_PAGES(level);
	struct ff_mirror *mirror = context;
	struct folio *folio;

	if (break_dirty)
		end = frame;
	/* A joined leaf maps several. */
	for (; frame < end; frame = folio_pfn(folio) + folio_nr_pages(folio)) {
		folio = page_folio(pfn_to_page(frame));
		folio_mark_dirty(folio);
	}
	ff_count(&mirror->ff->counters, FF_COUNT_PAGES_DIRTIED,
		 FF_LEVEL_PAGES(level));
}

/* Posts a flush of the device's TLBs; @length 0 means all of the PASID. */
static u64 ff_mirror_flush(struct ff_mirror *mirror, unsigned long start,
			   unsigned long length)
{
	struct ff_command command = {
		.opcode = FF_CMD_INVALIDATE,
		.pasid = cpu_to_le32(mirror->pasid),
		.address = cpu_to_le64(start),
		.value = cpu_to_le64(length),
	};
	u64 fence;

	ff_command_post(mirror->ff, &command);
	fence = ff_command_fence(mirror->ff);
	ff_command_ring(mirror->ff);
	return fence;
}

static bool
ff_mirror_invalidate_start(struct mmu_interval_notifier *notifier,
			   const struct mmu_notifier_range *range,
			   unsigned long seq,
			   struct mmu_interval_notifier_finish **finish)
{
	struct ff_window *window =
		container_of(notifier, struct ff_window, notifier);
	struct ff_mirror *mirror = window->mirror;
	struct ff_counters *counters = &mirror->ff->counters;
	bool blockable = mmu_notifier_range_blockable(range);
	struct ff_gather gather;
	u64 fence;

	ff_count(counters, FF_COUNT_INVALIDATIONS, 1);
	if (blockable) {
		mutex_lock(&mirror->lock);
	} else {
		ff_count(counters, FF_COUNT_NONBLOCKABLE, 1);
		if (!mutex_trylock(&mirror->lock)) {
			ff_count(counters, FF_COUNT_NONBLOCKABLE_REFUSED, 1);
			return false;
		}
	}

	mmu_interval_set_seq(notifier, seq);
	ff_gather_init(&gather, ff_mirror_writable, mirror);
	ff_pgtable_zap(&mirror->pgt, max(range->start, ff_window_start(window)),
		       min(range->end, ff_window_end(window)), &gather);
	if (gather.pages) {
		ff_count(counters, FF_COUNT_INVALIDATIONS_FLUSHED, 1);
		window->flush = ff_mirror_flush(mirror, gather.start,
						gather.end - gather.start);
	}
	fence = window->flush;
	mutex_unlock(&mirror->lock);
	trace_ff_invalidate(mirror->pasid, range, gather.pages, fence);

	if (ff_command_passed(mirror->ff, fence))
		goto done;
	if (!blockable) {
		/* As long as the device takes for a section, no longer. */
		ff_command_poll(mirror->ff, fence);
		goto done;
	}
	if (test_and_set_bit_lock(0, &window->finishing)) {
		ff_command_wait(mirror->ff, fence);
		goto done;
	}
	window->fence = fence;
	list_splice(&gather.tables, &window->tables);
	*finish = &window->finish;
	return true;

done:
	ff_tables_free(&mirror->pgt, &gather.tables);
	return true;
}

static void
ff_mirror_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	struct ff_window *window =
		container_of(finish, struct ff_window, finish);
	struct ff_mirror *mirror = window->mirror;

	ff_command_wait(mirror->ff, window->fence);
	ff_tables_free(&mirror->pgt, &window->tables);
	clear_bit_unlock(0, &window->finishing);
}

static const struct mmu_interval_notifier_ops ff_mirror_ops = {
	.invalidate_start = ff_mirror_invalidate_start,
	.invalidate_finish = ff_mirror_invalidate_finish,
};

/* --- The device wants more ------------------------------------------------ */

/*
 * A 1 GiB leaf needs a notifier that covers all of it. Where nothing is mapped
 * the size is 0: there is nothing to follow.
 */
static unsigned long ff_window_size(struct mm_struct *mm, unsigned long address)
{
	struct vm_area_struct *vma;
	unsigned long size = 0;

	if (mmap_read_lock_killable(mm))
		return 0;
	vma = vma_lookup(mm, address);
	if (vma && vma_kernel_pagesize(vma) >= FF_LEVEL_SIZE(2))
		size = FF_LEVEL_SIZE(2);
	else if (vma)
		size = FF_WINDOW_SIZE;
	mmap_read_unlock(mm);
	return size;
}

static int ff_window_add(struct ff_mirror *mirror, unsigned long start,
			 unsigned long size)
{
	struct ff_window *window;
	int ret;

	window = kzalloc_obj(*window, GFP_KERNEL_ACCOUNT);
	if (!window)
		return -ENOMEM;
	window->mirror = mirror;
	INIT_LIST_HEAD(&window->tables);
	ret = mmu_interval_notifier_insert(&window->notifier, mirror->mm, start,
					   size, &ff_mirror_ops);
	if (ret)
		goto free;
	ret = mtree_insert_range(&mirror->windows, start, start + size - 1,
				 window, GFP_KERNEL);
	if (ret)
		goto remove;
	ff_count(&mirror->ff->counters, FF_COUNT_NOTIFIERS, 1);
	return 0;

remove:
	mmu_interval_notifier_remove(&window->notifier);
free:
	kfree(window);
	return ret;
}

/* The window that covers @address, made if there is none. */
static struct ff_window *ff_window_get(struct ff_mirror *mirror,
				       unsigned long address)
{
	struct ff_window *window = mtree_load(&mirror->windows, address);
	unsigned long size;
	int ret;

	if (window)
		return window;

	size = ff_window_size(mirror->mm, address);
	if (!size)
		return ERR_PTR(-EFAULT);
	ret = ff_window_add(mirror, ALIGN_DOWN(address, size), size);
	/* There are small windows where a large one would go. */
	if (ret == -EEXIST && size != FF_WINDOW_SIZE)
		ret = ff_window_add(mirror, ALIGN_DOWN(address, FF_WINDOW_SIZE),
				    FF_WINDOW_SIZE);
	/* Somebody else may have been first. */
	if (ret && ret != -EEXIST)
		return ERR_PTR(ret);
	return mtree_load(&mirror->windows, address);
}

/*
 * The level of the largest leaf for a page that the CPU maps by @order. Other
 * pages of such a leaf may lie outside of what hmm_range_fault() was asked
 * for; but one CPU entry maps them all, and nothing can happen to it without
 * an invalidation of the window if the leaf lies within it.
 */
static unsigned int ff_leaf_level(const struct ff_window *window,
				  unsigned long address, unsigned int order)
{
	unsigned int level = window->mirror->ff->leaf_level;
	unsigned long start;

	for (; level; level--) {
		start = ALIGN_DOWN(address, FF_LEVEL_SIZE(level));
		if (order >= FF_PT_BITS * level &&
		    start >= ff_window_start(window) &&
		    start + FF_LEVEL_SIZE(level) <= ff_window_end(window))
			break;
	}
	return level;
}

/*
 * Whether the frames of a whole span lie one behind the other, although the CPU
 * may map them page by page: then one leaf will do.
 */
static bool ff_span_is_together(const struct ff_span *span,
				const struct ff_scratch *scratch)
{
	const unsigned long bits = ~HMM_PFN_FLAGS | HMM_PFN_VALID |
				   HMM_PFN_WRITE;
	unsigned long i, first = scratch->pfns[0] & bits;

	if (span->end - span->start != FF_SPAN_SIZE ||
	    !(first & HMM_PFN_VALID) || !IS_ALIGNED(first, FF_SPAN_PAGES))
		return false;
	for (i = 1; i < FF_SPAN_PAGES; i++)
		if ((scratch->pfns[i] & bits) != first + i)
			return false;
	return true;
}

/* Enters what hmm_range_fault() found. */
static void ff_mirror_program(const struct ff_window *window,
			      const struct ff_span *span,
			      struct ff_scratch *scratch)
{
	struct ff_pgtable *pgt = &window->mirror->pgt;
	bool together = ff_span_is_together(span, scratch);
	unsigned long address, start, pfn, frame;
	unsigned int level, order;
	u64 entry;

	for (address = span->start; address < span->end;
	     address = start + FF_LEVEL_SIZE(level)) {
		pfn = scratch->pfns[(address - span->start) >> PAGE_SHIFT];
		level = 0;
		start = address;
		if (!(pfn & HMM_PFN_VALID))
			continue;

		entry = FF_PTE_VALID | FF_PTE_LEAF | FF_PTE_READ;
		if (pfn & HMM_PFN_WRITE)
			entry |= FF_PTE_WRITE;
		order = hmm_pfn_to_map_order(pfn);
		if (together)
			order = max(order, FF_PT_BITS);
		level = ff_leaf_level(window, address, order);
		for (;; level--) {
			start = ALIGN_DOWN(address, FF_LEVEL_SIZE(level));
			frame = (pfn & ~HMM_PFN_FLAGS) -
				((address - start) >> PAGE_SHIFT);
			if (ff_pgtable_map(pgt, start, level,
					   entry | ff_frame_to_dma(frame),
					   &scratch->tables))
				break;
		}
	}
}

/*
 * Joins the small leaves around @address if that is possible. Returns the fence
 * after which @tables may be freed.
 */
static u64 ff_mirror_join(struct ff_mirror *mirror, unsigned long address,
			  struct list_head *tables)
{
	if (!mirror->ff->leaf_level ||
	    !ff_leaf_join(&mirror->pgt, address, tables))
		return 0;
	return ff_mirror_flush(mirror, ALIGN_DOWN(address, FF_SPAN_SIZE),
			       FF_SPAN_SIZE);
}

/* Returns -EBUSY if an invalidation came between. */
static int ff_mirror_try(struct ff_window *window, const struct ff_span *span,
			 struct ff_scratch *scratch)
{
	unsigned long pages = (span->end - span->start) >> PAGE_SHIFT;
	struct ff_mirror *mirror = window->mirror;
	struct hmm_range range = {
		.notifier = &window->notifier,
		.start = span->start,
		.end = span->end,
		.hmm_pfns = scratch->pfns,
	};
	LIST_HEAD(tables);
	unsigned long i;
	u64 fence = 0;
	int ret;

	if (span->prefetch) {
		range.default_flags = span->request;
	} else {
		/* Anew for each try: the last one has left its results here. */
		range.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
		for (i = 0; i < pages; i++)
			scratch->pfns[i] = span->request;
	}

	ret = ff_tables_fill(&mirror->pgt, &scratch->tables);
	if (ret)
		return ret;

	range.notifier_seq = mmu_interval_read_begin(range.notifier);
	ret = mmap_read_lock_killable(mirror->mm);
	if (ret)
		return ret;
	ret = hmm_range_fault(&range);
	mmap_read_unlock(mirror->mm);
	ff_count(&mirror->ff->counters, FF_COUNT_RANGE_FAULT_CALLS, 1);
	ff_count(&mirror->ff->counters, FF_COUNT_RANGE_FAULT_PAGES, pages);
	trace_ff_range_fault(mirror->pasid, span, ret);
	if (ret)
		return ret;

	mutex_lock(&mirror->lock);
	if (mmu_interval_read_retry(range.notifier, range.notifier_seq)) {
		ret = -EBUSY;
	} else {
		ff_mirror_program(window, span, scratch);
		fence = ff_mirror_join(mirror, span->start, &tables);
	}
	mutex_unlock(&mirror->lock);
	ff_command_wait(mirror->ff, fence);
	ff_tables_free(&mirror->pgt, &tables);
	return ret;
}

/**
 * ff_mirror_fault() - Make pages present on the CPU side and map them
 * @mirror: mirror
 * @span: which pages, and for what
 * @scratch: of the caller
 *
 * To be called by a thread of the mm, which keeps it from going away, and with
 * no lock held.
 *
 * hmm_range_fault() faults from the first page that needs it to the end of the
 * PMD or of the range, all with the flags of that page, and only then looks at
 * the flags of the next one. So all pages of a span ask for the same: a page
 * in between that nobody wants would be faulted in, and one that is to be read
 * would have its COW broken by a write next to it.
 *
 * Return: 0 if all of it was mapped; something may already have been taken
 * out again. -EAGAIN if invalidations kept coming between and fewer pages may
 * have better luck. -EFAULT or -EPERM if some page cannot be had. -EINTR if the
 * caller was killed, -ESHUTDOWN if the mirror closes, -ENOMEM.
 */
int ff_mirror_fault(struct ff_mirror *mirror, const struct ff_span *span,
		    struct ff_scratch *scratch)
{
	struct ff_window *window = ff_window_get(mirror, span->start);
	unsigned int tries = 0;
	int ret;

	if (IS_ERR(window))
		return PTR_ERR(window);

	while ((ret = ff_mirror_try(window, span, scratch)) == -EBUSY) {
		ff_count(&mirror->ff->counters, FF_COUNT_RETRIES, 1);
		trace_ff_retry(mirror->pasid, span, ++tries);
		if (READ_ONCE(mirror->closing))
			return -ESHUTDOWN;
		if (fatal_signal_pending(current))
			return -EINTR;
		/* A single page is a race that ends when the process lets it. */
		if (tries >= FF_TRIES && span->end - span->start > PAGE_SIZE)
			return -EAGAIN;
		cond_resched();
	}
	return ret;
}

/**
 * ff_mirror_drop() - Let go of pages
 * @mirror: mirror
 * @start: first address
 * @end: end
 *
 * Returns when the device has no translation of them any more. An invalidation
 * that comes meanwhile finds nothing, and waits for the same flush.
 */
void ff_mirror_drop(struct ff_mirror *mirror, unsigned long start,
		    unsigned long end)
{
	unsigned long index = start;
	struct ff_gather gather;
	struct ff_window *window;
	u64 fence = 0;

	ff_gather_init(&gather, ff_mirror_writable, mirror);
	mutex_lock(&mirror->lock);
	ff_pgtable_zap(&mirror->pgt, start, end, &gather);
	if (gather.pages) {
		fence = ff_mirror_flush(mirror, gather.start,
					gather.end - gather.start);
		index = gather.start;
		mt_for_each(&mirror->windows, window, index, gather.end - 1)
			window->flush = fence;
	}
	mutex_unlock(&mirror->lock);
	ff_command_wait(mirror->ff, fence);
	ff_tables_free(&mirror->pgt, &gather.tables);
}

/* --- Beginning and end ---------------------------------------------------- */

struct ff_scratch *ff_scratch_alloc(void)
{
	struct ff_scratch *scratch = kzalloc_obj(*scratch);

	if (scratch)
		INIT_LIST_HEAD(&scratch->tables);
	return scratch;
}

void ff_scratch_free(struct ff_mirror *mirror, struct ff_scratch *scratch)
{
	ff_tables_free(&mirror->pgt, &scratch->tables);
	kfree(scratch);
}

/**
 * ff_mirror_open() - Make an empty mirror
 * @mirror: zeroed; pasid is set by the caller before anything is mapped
 * @ff: device
 * @mm: address space to follow
 *
 * Return: 0 or -ENOMEM.
 */
int ff_mirror_open(struct ff_mirror *mirror, struct ff_device *ff,
		   struct mm_struct *mm)
{
	int ret;

	mirror->ff = ff;
	mutex_init(&mirror->lock);
	mt_init(&mirror->windows);
	ret = ff_pgtable_init(&mirror->pgt, ff->dev, &ff->counters);
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
 * ff_mirror_close() - Let go of all pages and stop following the mm
 * @mirror: mirror that nobody uses; the device's context entry is invalid
 *
 * The notifiers stay until the device holds no translation any more, for they
 * are what keeps the pages.
 */
void ff_mirror_close(struct ff_mirror *mirror)
{
	struct ff_window *window;
	unsigned long index = 0;

	ff_mirror_drop(mirror, 0, FF_PGTABLE_END);
	/* A walk that finds nothing has read the root, too. */
	ff_command_wait(mirror->ff, ff_mirror_flush(mirror, 0, 0));
	mt_for_each(&mirror->windows, window, index, ULONG_MAX) {
		mmu_interval_notifier_remove(&window->notifier);
		kfree(window);
		ff_count(&mirror->ff->counters, FF_COUNT_NOTIFIERS, -1);
	}
	mtree_destroy(&mirror->windows);
	ff_pgtable_fini(&mirror->pgt);
	mmdrop(mirror->mm);
}
