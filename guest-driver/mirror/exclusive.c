// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exclusive access: a page that the device has for itself.
 *
 * A device whose reads and writes a CPU can come between needs it for atomic
 * operations. make_device_exclusive() takes the page from the CPU's page table, and the
 * CPU gets it back by a fault, which is an invalidation like any other: the device lets
 * go of the page before the CPU has it. So what either does there is atomic to the
 * other. A page in device memory is the device's own anyhow.
 */
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "hw/device.h"
#include "mirror/exclusive.h"
#include "mirror/interval.h"
#include "pgtable/dma.h"

DEFINE_STATIC_CALL(ff_exclusive_isolate, make_device_exclusive);

/*
 * What comes between is made to come before as far as may be:
 * make_device_exclusive() has the CPU fault, which is an invalidation of a page that the
 * last try has left without its entry.
 */
static int ff_exclusive_try(struct ff_interval *interval,
			    const struct ff_span *span,
			    struct ff_scratch *scratch)
{
	struct ff_mirror *mirror = interval->mirror;
	unsigned long seq, pfn;
	struct folio *folio;
	struct page *page;
	int ret;

	ret = ff_fault_in(mirror, span, true);
	if (ret < 0)
		return ret;
	seq = mmu_interval_read_begin(&interval->notifier);
	if (mmap_read_lock_killable(mirror->mm))
		return -EINTR;
	page = static_call(ff_exclusive_isolate)(mirror->mm, span->start,
						 mirror, &folio);
	ret = PTR_ERR_OR_ZERO(page);
	if (!ret) {
		/*
		 * It is locked, so the CPU does not get it back; what else may
		 * happen to it bumps the sequence number.
		 */
		pfn = page_to_pfn(page) | HMM_PFN_VALID | HMM_PFN_WRITE;
		ret = ff_populate_enter(interval, span, seq, &pfn,
					FF_PTE_ATOMIC);
		ff_count(&mirror->ff->counters, FF_COUNT_EXCLUSIVE, !ret);
		folio_unlock(folio);
		folio_put(folio);
	}
	mmap_read_unlock(mirror->mm);
	return ret;
}

static bool ff_exclusive_is_mapped(struct ff_mirror *mirror,
				   unsigned long address)
{
	guard(mutex)(&mirror->lock);
	return ff_pgtable_lookup(&mirror->pgt, address).entry & FF_PTE_ATOMIC;
}

/**
 * ff_exclusive_take() - Give the device a page for itself
 * @mirror: mirror of the calling process
 * @address: of the page
 * @scratch: of the caller
 *
 * It has it until the CPU touches the page, or something else happens to it. A page
 * that is in device memory, or is to be there, stays or goes there.
 *
 * Return: as ff_populate(); -EOPNOTSUPP if the page is not one of private memory.
 */
int ff_exclusive_take(struct ff_mirror *mirror, unsigned long address,
		      struct ff_scratch *scratch)
{
	const struct ff_span page = {
		.start = address,
		.end = address + PAGE_SIZE,
		.request = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.ask = true,
	};
	struct ff_interval *interval;
	int ret;

	if (address >= FF_PGTABLE_END)
		return -EFAULT;
	if (mirror->region) {
		ret = ff_populate(mirror, &page, scratch);
		if (ret || ff_exclusive_is_mapped(mirror, address))
			return ret;
	}
	interval = ff_interval_get(mirror, address);
	if (IS_ERR(interval))
		return PTR_ERR(interval);
	return ff_populate_until(interval, &page, scratch, ff_exclusive_try);
}

/* Whether the device has some page of a range for itself. */
bool ff_exclusive_has(struct ff_mirror *mirror, unsigned long start,
		      unsigned long end)
{
	bool has = false;

	for (; !has && start < min(end, FF_PGTABLE_END); start += PAGE_SIZE) {
		has = ff_exclusive_is_mapped(mirror, start);
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	return has;
}
