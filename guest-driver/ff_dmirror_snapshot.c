// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots: how the CPU maps a range, without a fault.
 */
#include <linux/mmu_notifier.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ff_ctx.h"
#include "ff_dmirror.h"

/* Pages of one call of hmm_range_fault(). */
#define FF_SNAPSHOT_PAGES	512

/**
 * struct ff_snapshot - What it takes to look at a range
 * @notifier: covers the range
 * @lock: orders @notifier's sequence number, as the API demands
 * @pfns: what hmm_range_fault() found
 * @bytes: the same in the selftest's terms
 */
struct ff_snapshot {
	struct mmu_interval_notifier notifier;
	spinlock_t lock; /* sequence number */
	unsigned long pfns[FF_SNAPSHOT_PAGES];
	u8 bytes[FF_SNAPSHOT_PAGES];
};

/* There is nothing to take back, only to look again. */
static bool ff_snapshot_invalidate(struct mmu_interval_notifier *notifier,
				   const struct mmu_notifier_range *range,
				   unsigned long seq)
{
	struct ff_snapshot *snapshot =
		container_of(notifier, struct ff_snapshot, notifier);

	spin_lock(&snapshot->lock);
	mmu_interval_set_seq(notifier, seq);
	spin_unlock(&snapshot->lock);
	return true;
}

static const struct mmu_interval_notifier_ops ff_snapshot_ops = {
	.invalidate = ff_snapshot_invalidate,
};

static int ff_snapshot_try(struct ff_snapshot *snapshot, struct mm_struct *mm,
			   unsigned long start, unsigned long end)
{
	struct hmm_range range = {
		.notifier = &snapshot->notifier,
		.start = start,
		.end = end,
		.hmm_pfns = snapshot->pfns,
	};
	bool retry;
	int ret;

	range.notifier_seq = mmu_interval_read_begin(range.notifier);
	ret = mmap_read_lock_killable(mm);
	if (ret)
		return ret;
	ret = hmm_range_fault(&range);
	mmap_read_unlock(mm);
	if (ret)
		return ret;

	spin_lock(&snapshot->lock);
	retry = mmu_interval_read_retry(range.notifier, range.notifier_seq);
	spin_unlock(&snapshot->lock);
	return retry ? -EBUSY : 0;
}

static u8 ff_snapshot_byte(unsigned long pfn)
{
	unsigned int shift = hmm_pfn_to_map_order(pfn) + PAGE_SHIFT;
	u8 byte = FF_DMIRROR_NONE;

	if (pfn & HMM_PFN_ERROR)
		return FF_DMIRROR_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return FF_DMIRROR_NONE;

	byte |= pfn & HMM_PFN_WRITE ? FF_DMIRROR_CAN_WRITE : FF_DMIRROR_CAN_READ;
	if (is_zero_pfn(pfn & ~HMM_PFN_FLAGS))
		byte |= FF_DMIRROR_ZERO;
	if (shift == PMD_SHIFT)
		byte |= FF_DMIRROR_PMD;
	if (shift == PUD_SHIFT)
		byte |= FF_DMIRROR_PUD;
	return byte;
}

static int ff_snapshot_span(struct ff_snapshot *snapshot, struct mm_struct *mm,
			    unsigned long start, unsigned long end)
{
	unsigned long i;
	int ret;

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		ret = ff_snapshot_try(snapshot, mm, start, end);
	} while (ret == -EBUSY);
	if (ret)
		return ret;
	for (i = 0; i < (end - start) >> PAGE_SHIFT; i++)
		snapshot->bytes[i] = ff_snapshot_byte(snapshot->pfns[i]);
	return 0;
}

static int ff_snapshot_range(struct ff_snapshot *snapshot, struct mm_struct *mm,
			     struct ff_dmirror_cmd *cmd)
{
	unsigned long start = cmd->addr;
	unsigned long pages;
	int ret;

	while (cmd->cpages < cmd->npages) {
		pages = min(cmd->npages - cmd->cpages, FF_SNAPSHOT_PAGES);
		ret = ff_snapshot_span(snapshot, mm, start,
				       start + (pages << PAGE_SHIFT));
		if (ret)
			return ret;
		if (copy_to_user(u64_to_user_ptr(cmd->ptr) + cmd->cpages,
				 snapshot->bytes, pages))
			return -EFAULT;
		start += pages << PAGE_SHIFT;
		cmd->cpages += pages;
		cond_resched();
	}
	return 0;
}

/* FF_DMIRROR_SNAPSHOT */
int ff_dmirror_snapshot(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	struct mm_struct *mm = dmirror->ctx->mirror.mm;
	struct ff_snapshot *snapshot;
	int ret;

	snapshot = kzalloc_obj(*snapshot);
	if (!snapshot)
		return -ENOMEM;
	spin_lock_init(&snapshot->lock);
	ret = mmu_interval_notifier_insert(&snapshot->notifier, mm, cmd->addr,
					   cmd->npages << PAGE_SHIFT,
					   &ff_snapshot_ops);
	if (!ret) {
		ret = ff_snapshot_range(snapshot, mm, cmd);
		mmu_interval_notifier_remove(&snapshot->notifier);
	}
	kfree(snapshot);
	return ret;
}
