// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intervals: pieces of the address space that a mirror follows, each by an
 * interval notifier, made when the device first wants something in them.
 *
 * No two notifiers of a mirror ever cover the same address. If they did, an
 * invalidation would visit one after the other: between the two visits, what the
 * first has taken out would look as if its flush had passed to who asks the
 * second, whose sequence number has not moved either.
 */
#include <linux/err.h>
#include <linux/hugetlb.h>
#include <linux/cache.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "hw/device.h"
#include "mirror/interval.h"
#include "mirror/invalidate.h"
#include "mirror/mirror.h"

/*
 * What one notifier covers. An invalidation anywhere in an interval makes faults
 * in it start over, so not much more; each interval costs a notifier, a walk of
 * the interval tree, and a wait in mmu_interval_notifier_remove() at the end,
 * so not much less. 64 MiB are 32 calls of hmm_range_fault() and 16 notifiers
 * for each GiB in use.
 */
#define FF_INTERVAL_SIZE	SZ_64M

/* How invalidations are answered; a test answers worse. */
const struct mmu_interval_notifier_ops *ff_interval_ops __ro_after_init =
	&ff_mirror_ops;

/*
 * A 1 GiB leaf needs a notifier that covers all of it. Where nothing is mapped
 * the size is 0: there is nothing to follow.
 */
static unsigned long ff_interval_size(struct mm_struct *mm,
				      unsigned long address)
{
	struct vm_area_struct *vma;
	unsigned long size = 0;

	if (mmap_read_lock_killable(mm))
		return 0;
	vma = vma_lookup(mm, address);
	if (vma && vma_kernel_pagesize(vma) >= FF_LEVEL_SIZE(2))
		size = FF_LEVEL_SIZE(2);
	else if (vma)
		size = FF_INTERVAL_SIZE;
	mmap_read_unlock(mm);
	return size;
}

/* Makes the interval of @size that @address is in. Nothing of it has one. */
static struct ff_interval *ff_interval_add(struct ff_mirror *mirror,
					   unsigned long address,
					   unsigned long size)
{
	unsigned long start = ALIGN_DOWN(address, size);
	struct ff_interval *interval __free(kfree) =
		kzalloc_obj(*interval, GFP_KERNEL_ACCOUNT);
	int ret;

	lockdep_assert_held(&mirror->adding);
	if (!interval)
		return ERR_PTR(-ENOMEM);
	interval->mirror = mirror;
	interval->dma.start = start;
	interval->dma.size = size;
	INIT_LIST_HEAD(&interval->tables);
	ret = mmu_interval_notifier_insert(&interval->notifier, mirror->mm,
					   start, size, ff_interval_ops);
	if (ret)
		return ERR_PTR(ret);
	ret = mtree_insert_range(&mirror->intervals, start, start + size - 1,
				 interval, GFP_KERNEL_ACCOUNT);
	if (ret) {
		mmu_interval_notifier_remove(&interval->notifier);
		return ERR_PTR(ret);
	}
	ff_count(&mirror->ff->counters, FF_COUNT_NOTIFIERS, 1);
	return_ptr(interval);
}

/* Is there an interval in the piece of @size that @address is in? */
static bool ff_interval_exists(struct ff_mirror *mirror, unsigned long address,
			       unsigned long size)
{
	unsigned long index = ALIGN_DOWN(address, size);

	return mt_find(&mirror->intervals, &index, index + size - 1);
}

/*
 * The interval that covers an address, made if there is none. -EFAULT if nothing is
 * mapped there, -EINTR if the caller was killed, -ENOMEM.
 */
struct ff_interval *ff_interval_get(struct ff_mirror *mirror,
				    unsigned long address)
{
	struct ff_interval *interval = mtree_load(&mirror->intervals, address);
	unsigned long size;

	if (interval)
		return interval;

	size = ff_interval_size(mirror->mm, address);
	if (!size && fatal_signal_pending(current))
		return ERR_PTR(-EINTR);
	if (!size)
		return ERR_PTR(-EFAULT);

	guard(mutex)(&mirror->adding);
	interval = mtree_load(&mirror->intervals, address);
	if (interval)
		return interval;
	/* There may be small ones where a large one would go. */
	if (ff_interval_exists(mirror, address, size))
		size = FF_INTERVAL_SIZE;
	return ff_interval_add(mirror, address, size);
}
