/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between the kernel series that the driver is built for. */
#ifndef FF_COMPAT_H
#define FF_COMPAT_H

#include <linux/hmm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/version.h>

/*
 * From 7.3 on HMM gives mmap_lock up while it waits for a page, and can be killed.
 * Its retries are bounded by time, ours by number: a jiffy leaves them to us. The wait
 * for an invalidation counts, too: if it takes longer, HMM gives up before it has tried.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
#define FF_HMM_GIVES_WAY	true
static inline int ff_range_fault(struct hmm_range *range)
{
	return hmm_range_fault_unlocked_timeout(range, 1);
}
#else
#define FF_HMM_GIVES_WAY	false
/* mmap_lock is held from beginning to end. -EINTR if the caller is killed. */
static inline int ff_range_fault(struct hmm_range *range)
{
	struct mm_struct *mm = range->notifier->mm;
	int ret;

	range->notifier_seq = mmu_interval_read_begin(range->notifier);
	ret = mmap_read_lock_killable(mm);
	if (ret)
		return ret;
	ret = hmm_range_fault(range);
	mmap_read_unlock(mm);
	return ret;
}
#endif

#endif /* FF_COMPAT_H */
