// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ways for the driver to go wrong.
 *
 * A test that has never failed shows nothing. Each parameter here takes out one
 * thing that the driver owes, and the tests load it so and demand that they
 * fail. The kernel is tainted by them, and data is lost, as they say.
 */
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>

#include "base/abi.h"
#include "base/upward.h"
#include "hw/device.h"
#include "mirror/exclusive.h"
#include "mirror/invalidate.h"
#include "pgtable/dma.h"
#include "service/service.h"
#include "testing/testing.h"

static bool ff_break_dirty;
module_param_named_unsafe(break_dirty, ff_break_dirty, bool, 0444);
MODULE_PARM_DESC(break_dirty, "Do not mark pages dirty, and so lose data, to show that tests notice");

static bool ff_break_clean;
module_param_named_unsafe(break_clean, ff_break_clean, bool, 0444);
MODULE_PARM_DESC(break_clean, "Do not take out what is made clean, and so have the device write to it unnoticed, to show that tests notice");

static bool ff_break_flush;
module_param_named_unsafe(break_flush, ff_break_flush, bool, 0444);
MODULE_PARM_DESC(break_flush, "Do not wait until the device lets go of pages, to show that tests notice");

static bool ff_break_unmap;
module_param_named_unsafe(break_unmap, ff_break_unmap, bool, 0444);
MODULE_PARM_DESC(break_unmap, "Undo DMA mappings of what the device may still read, to show that an IOMMU notices");

module_param_named_unsafe(break_dma, ff_dma_bypass, bool, 0444);
MODULE_PARM_DESC(break_dma, "Give the device physical addresses, to show that tests behind an IOMMU notice");

static bool ff_break_exclusive;
module_param_named_unsafe(break_exclusive, ff_break_exclusive, bool, 0444);
MODULE_PARM_DESC(break_exclusive, "Leave to the CPU what the device is to have for itself, and so lose what either adds, to show that tests notice");

static unsigned int ff_break_records;
module_param_named_unsafe(break_records, ff_break_records, uint, 0444);
MODULE_PARM_DESC(break_records, "Misread the last record of that many fault groups, to show what comes of a broken device");

static void ff_break_mark_dirty(unsigned long frame, unsigned long pages)
{
	/* What the device has written is lost. */
}

/*
 * Whether to leave out what an invalidation is to take out. When a page is made
 * clean the CPU still maps it, and whoever takes that away invalidates once more,
 * so the device reaches nothing that is not the process's. Fork raises the same
 * event, and must be heeded, or the device would write to what is the child's:
 * unlike those who clean, it holds mmap_lock for writing.
 */
static bool ff_break_keeps(const struct mmu_notifier_range *range)
{
	unsigned int seq;

	return ff_break_clean && range->event == MMU_NOTIFY_PROTECTION_PAGE &&
	       mmap_lock_speculate_try_begin(range->mm, &seq);
}

/*
 * Undoes what is mapped for DMA of a range, and leaves the first page of it to the
 * device, for reading: of what is gone nothing is to be marked dirty.
 */
static void ff_break_reap(struct ff_interval *interval,
			  const struct mmu_notifier_range *range)
{
	struct ff_mirror *mirror = interval->mirror;
	struct ff_pgtable *pgt = &mirror->pgt;
	unsigned long start = max(range->start, ff_interval_start(interval));
	unsigned long end = min(range->end, ff_interval_end(interval));
	struct ff_gather gather;
	struct ff_leaf leaf;

	lockdep_assert_held(&mirror->lock);
	leaf = ff_pgtable_lookup(pgt, start);
	ff_interval_zap(interval, start, end, 0, &gather);
	ff_dma_reap(pgt, &interval->dma, start, end, &gather.tables);
	/* The tables on its way are there, or were and are empty now. */
	if (leaf.entry) {
		leaf.entry &= FF_PTE_ADDRESS;
		leaf.entry |= FF_PTE_VALID | FF_PTE_LEAF | FF_PTE_READ;
		leaf.frame = 0;
		ff_pgtable_map(pgt, start, 0, leaf, &gather.tables);
	}
	/* The device may still walk them. */
	list_splice(&gather.tables, &mirror->unlinked);
}

/*
 * Without the zap for break_clean, without the wait for break_flush, without both
 * for break_unmap.
 */
static bool ff_break_invalidate(struct mmu_interval_notifier *notifier,
				const struct mmu_notifier_range *range,
				unsigned long seq,
				struct mmu_interval_notifier_finish **finish)
{
	struct ff_interval *interval =
		container_of(notifier, struct ff_interval, notifier);
	struct ff_mirror *mirror = interval->mirror;
	bool keep = ff_break_keeps(range);
	struct ff_gather gather;
	u64 fence = 0;

	if (!mmu_notifier_range_blockable(range) ||
	    (!ff_break_flush && !ff_break_unmap && !keep))
		return ff_mirror_ops.invalidate_start(notifier, range, seq,
						      finish);
	mutex_lock(&mirror->lock);
	mmu_interval_set_seq(notifier, seq);
	if (ff_break_unmap) {
		ff_break_reap(interval, range);
	} else if (!keep) {
		ff_interval_zap(interval, range->start, range->end, 0, &gather);
		fence = ff_interval_flush(interval, &gather, true);
	}
	mutex_unlock(&mirror->lock);
	/* A table that is still walked would do worse than the test wants. */
	if (!ff_break_unmap && !keep && !list_empty(&gather.tables)) {
		ff_command_wait(mirror->ff, fence);
		ff_tables_free(&mirror->pgt, &gather.tables);
	}
	return true;
}

static struct mmu_interval_notifier_ops ff_break_ops __ro_after_init = {
	.invalidate_start = ff_break_invalidate,
};

/* As make_device_exclusive(), but for the one thing that it is for. */
static struct page *ff_break_isolate(struct mm_struct *mm,
				     unsigned long address, void *owner,
				     struct folio **foliop)
{
	struct vm_area_struct *vma;
	struct page *page;

	page = get_user_page_vma_remote(mm, address, FOLL_GET | FOLL_WRITE,
					&vma);
	if (!IS_ERR(page)) {
		*foliop = page_folio(page);
		folio_lock(*foliop);
	}
	return page;
}

/* Takes a record for one that makes no sense. */
static void ff_break_collect(struct ff_device *ff, const struct ff_fault *fault)
{
	struct ff_fault misread = *fault;

	if (ff_break_records && fault->flags & FF_FAULT_LAST) {
		ff_break_records--;
		misread.kind = 0;
	}
	ff_collect(ff, &misread);
}

void __init ff_break_init(void)
{
	if (ff_break_records)
		static_call_update(ff_up_fault, ff_break_collect);
	if (ff_break_dirty)
		static_call_update(ff_mark_dirty, ff_break_mark_dirty);
	if (ff_break_exclusive)
		static_call_update(ff_exclusive_isolate, ff_break_isolate);
	if (ff_break_clean || ff_break_flush || ff_break_unmap) {
		ff_break_ops.invalidate_finish =
			ff_mirror_ops.invalidate_finish;
		ff_interval_ops = &ff_break_ops;
	}
}
