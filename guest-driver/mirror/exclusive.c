// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exclusive access: a page that the device has for itself.
 *
 * make_device_exclusive() takes a page from the CPU's page table, and the CPU gets it
 * back by a fault, which is an invalidation like any other: the device lets go of the
 * page before the CPU has it. So what either does there is atomic to the other.
 */
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>

#include "hw/device.h"
#include "mirror/exclusive.h"
#include "mirror/interval.h"
#include "mirror/populate.h"
#include "pgtable/dma.h"

/* Collisions with invalidations after which to give up for now. */
#define FF_EXCLUSIVE_TRIES	8

/*
 * Returns -EBUSY if an invalidation came between. What comes between is made to come
 * before as far as may be: make_device_exclusive() has the CPU fault, which is an
 * invalidation of a page that the last try has left without its entry.
 */
static int ff_exclusive_try(struct ff_interval *interval, unsigned long address)
{
	const struct ff_span span = {
		.start = address,
		.end = address + PAGE_SIZE,
		.request = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
		.ask = true,
	};
	struct mm_struct *mm = interval->mirror->mm;
	unsigned long seq, pfn;
	struct folio *folio;
	struct page *page;
	int ret;

	ret = ff_fault_in(interval->mirror, &span, true);
	if (ret < 0)
		return ret;
	seq = mmu_interval_read_begin(&interval->notifier);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	page = make_device_exclusive(mm, address, interval->mirror, &folio);
	ret = PTR_ERR_OR_ZERO(page);
	if (!ret) {
		/*
		 * It is locked, so the CPU does not get it back; what else may
		 * happen to it bumps the sequence number.
		 */
		pfn = page_to_pfn(page) | HMM_PFN_VALID | HMM_PFN_WRITE;
		ret = ff_populate_enter(interval, &span, seq, &pfn,
					FF_PTE_EXCLUSIVE);
		folio_unlock(folio);
		folio_put(folio);
	}
	mmap_read_unlock(mm);
	return ret;
}

/**
 * ff_exclusive_take() - Give the device a page for itself
 * @mirror: mirror of the calling process
 * @address: of the page
 *
 * It has it until the CPU touches the page, or something else happens to it.
 *
 * Return: 0; -EAGAIN if invalidations kept coming between; -EOPNOTSUPP if the page is
 * not one of private memory; -EFAULT if it cannot be written; -EINTR, -ESHUTDOWN,
 * -ENOMEM; -ENOSPC and -EIO from ff_dma_map().
 */
int ff_exclusive_take(struct ff_mirror *mirror, unsigned long address)
{
	struct ff_interval *interval;
	unsigned int tries;
	int ret = -EBUSY;

	if (address >= FF_PGTABLE_END)
		return -EFAULT;
	interval = ff_interval_get(mirror, address);
	if (IS_ERR(interval))
		return PTR_ERR(interval);
	for (tries = 0; ret == -EBUSY && tries < FF_EXCLUSIVE_TRIES; tries++)
		ret = ff_exclusive_try(interval, address);
	return ret == -EBUSY ? -EAGAIN : ret;
}

/* Whether the device has some page of a range for itself. */
bool ff_exclusive_has(struct ff_mirror *mirror, unsigned long start,
		      unsigned long end)
{
	bool has = false;

	for (; !has && start < min(end, FF_PGTABLE_END); start += PAGE_SIZE) {
		scoped_guard(mutex, &mirror->lock)
			has = ff_pgtable_lookup(&mirror->pgt, start).entry &
			      FF_PTE_EXCLUSIVE;
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
	return has;
}
