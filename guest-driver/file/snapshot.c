// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots: how the CPU maps a range, without a fault.
 */
#include <linux/hmm.h>
#include <linux/mmu_notifier.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "base/compat.h"
#include "file/ctx.h"
#include "memory/region.h"

/* Pages of one call of hmm_range_fault(). */
#define FF_LOOK_PAGES	512

/**
 * struct ff_look - What it takes to look at a range
 * @notifier: covers the piece that is looked at
 * @lock: orders @notifier's sequence number, as the API demands
 */
struct ff_look {
	struct mmu_interval_notifier notifier;
	spinlock_t lock; /* sequence number */
};

/**
 * struct ff_sight - What was seen
 * @pfns: as hmm_range_fault() found it
 * @bytes: as the caller wants it
 */
struct ff_sight {
	unsigned long pfns[FF_LOOK_PAGES];
	u8 bytes[FF_LOOK_PAGES];
};

/* There is nothing to take back, only to look again. */
static bool ff_look_invalidate(struct mmu_interval_notifier *notifier,
			       const struct mmu_notifier_range *range,
			       unsigned long seq)
{
	struct ff_look *look = container_of(notifier, struct ff_look, notifier);

	guard(spinlock)(&look->lock);
	mmu_interval_set_seq(notifier, seq);
	return true;
}

static const struct mmu_interval_notifier_ops ff_look_ops = {
	.invalidate = ff_look_invalidate,
};

static int ff_look_try(struct ff_look *look, struct hmm_range *range)
{
	int ret = ff_range_fault(range);

	if (ret)
		return ret;
	guard(spinlock)(&look->lock);
	return mmu_interval_read_retry(range->notifier, range->notifier_seq) ?
		-EBUSY : 0;
}

/**
 * ff_look_at() - How the CPU maps some pages
 * @mirror: of the calling process
 * @start: first address, page aligned
 * @pages: number of pages, at least 1, all of them below TASK_SIZE
 * @pfns: for what hmm_range_fault() finds
 *
 * They are so at one moment. A notifier covers them alone: who changes something else
 * is not in the way. What another device has in memory of its own is as if not
 * there: HMM shows that to its owner alone.
 *
 * Return: 0, -ENOMEM, -EINTR if the caller is killed, -ENODEV if the mirror closes.
 */
int ff_look_at(struct ff_mirror *mirror, unsigned long start,
	       unsigned long pages, unsigned long *pfns)
{
	struct ff_look look = {};
	struct hmm_range range = {
		.notifier = &look.notifier,
		.start = start,
		.end = start + (pages << PAGE_SHIFT),
		.hmm_pfns = pfns,
		.dev_private_owner = mirror->region,
	};
	int ret;

	spin_lock_init(&look.lock);
	ret = mmu_interval_notifier_insert(&look.notifier, mirror->mm, start,
					   range.end - start, &ff_look_ops);
	if (ret)
		return ret;
	do {
		if (fatal_signal_pending(current))
			ret = -EINTR;
		else if (READ_ONCE(mirror->closing))
			ret = -ENODEV;
		else
			ret = ff_look_try(&look, &range);
		cond_resched();
	} while (ret == -EBUSY);
	mmu_interval_notifier_remove(&look.notifier);
	return ret;
}

/**
 * ff_snapshot_range() - Look at a range
 * @mirror: of the calling process
 * @start: first address, page aligned
 * @pages: number of pages, at least 1, all of them below TASK_SIZE
 * @bytes: for a byte of each page
 * @judge: makes such a byte; called under the mirror's lock
 *
 * Each piece of 512 pages is as it was at one moment; what @judge sees of the
 * mirror is of a moment later.
 *
 * Return: as ff_look_at(), or -EFAULT if @bytes cannot be written.
 */
int ff_snapshot_range(struct ff_mirror *mirror, unsigned long start,
		      unsigned long pages, u8 __user *bytes,
		      u8 (*judge)(struct ff_mirror *mirror,
				  unsigned long address, unsigned long pfn))
{
	struct ff_sight *sight __free(kvfree) =
		kvzalloc_obj(*sight, GFP_KERNEL_ACCOUNT);
	unsigned long i, nr, done = 0;
	int ret;

	if (!sight)
		return -ENOMEM;
	for (; done < pages; done += nr, start += nr << PAGE_SHIFT) {
		nr = min(pages - done, FF_LOOK_PAGES);
		ret = ff_look_at(mirror, start, nr, sight->pfns);
		if (ret)
			return ret;
		scoped_guard(mutex, &mirror->lock)
			for (i = 0; i < nr; i++)
				sight->bytes[i] = judge(mirror,
							start + (i << PAGE_SHIFT),
							sight->pfns[i]);
		if (copy_to_user(bytes + done, sight->bytes, nr))
			return -EFAULT;
	}
	return 0;
}

static u8 ff_snapshot_judge(struct ff_mirror *mirror, unsigned long address,
			    unsigned long pfn)
{
	unsigned int shift = hmm_pfn_to_map_order(pfn) + PAGE_SHIFT;
	u8 byte = 0;

	lockdep_assert_held(&mirror->lock);
	if (address < FF_PGTABLE_END &&
	    ff_pgtable_lookup(&mirror->pgt, address).entry)
		byte |= FF_SNAPSHOT_MIRRORED;
	if (pfn & HMM_PFN_ERROR)
		return byte | FF_SNAPSHOT_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return byte;

	byte |= FF_SNAPSHOT_READ;
	if (pfn & HMM_PFN_WRITE)
		byte |= FF_SNAPSHOT_WRITE;
	if (is_zero_pfn(pfn & ~HMM_PFN_FLAGS))
		byte |= FF_SNAPSHOT_ZERO;
	if (ff_region_has(mirror->region, pfn & ~HMM_PFN_FLAGS))
		byte |= FF_SNAPSHOT_DEVICE;
	if (shift >= PUD_SHIFT)
		byte |= FF_SNAPSHOT_1G;
	else if (shift >= PMD_SHIFT)
		byte |= FF_SNAPSHOT_2M;
	return byte;
}

/* FF_IOC_SNAPSHOT */
int ff_ioctl_snapshot(struct ff_ctx *ctx, void *arg)
{
	const struct ff_snapshot *snapshot = arg;
	u64 end;

	if (snapshot->reserved || !PAGE_ALIGNED(snapshot->address) ||
	    !PAGE_ALIGNED(snapshot->length) ||
	    check_add_overflow(snapshot->address, snapshot->length, &end))
		return -EINVAL;
	if (!access_ok(u64_to_user_ptr(snapshot->address), snapshot->length))
		return -EFAULT;
	if (!snapshot->length)
		return 0;
	return ff_snapshot_range(&ctx->mirror, snapshot->address,
				 snapshot->length >> PAGE_SHIFT,
				 u64_to_user_ptr(snapshot->pages),
				 ff_snapshot_judge);
}
