// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is to be in device memory when the device uses it.
 *
 * That is said of addresses, by advice, and stays so whatever is mapped there, until
 * something else is said or the file is closed. A fault of the device then moves what is
 * around it, so that the next page of the same 2 MiB does not fault; what cannot be moved
 * is used where it is. It is left to the CPU to take pages back by touching them.
 *
 * Where room is tight, only what was asked for is moved: the rest of the 2 MiB would have as
 * many pages leave that are in use, to be used itself or not.
 */
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/xarray.h>

#include "hw/device.h"
#include "memory/move.h"
#include "mirror/prefer.h"

/* Says that of a range. Returns 0 or -ENOMEM. */
int ff_prefer_set(struct ff_mirror *mirror, unsigned long start,
		  unsigned long end, bool device)
{
	return mtree_store_range(&mirror->prefer, start, end - 1,
				 device ? xa_mk_value(1) : NULL,
				 GFP_KERNEL_ACCOUNT);
}

/* What is said of @address is said of this part of @start to @end. */
static void ff_prefer_clip(struct ff_mirror *mirror, unsigned long address,
			   unsigned long *start, unsigned long *end)
{
	MA_STATE(mas, &mirror->prefer, address, address);

	guard(rcu)();
	mas_walk(&mas);
	*start = max(*start, mas.index);
	*end = min(*end - 1, mas.last) + 1;
}

/* The next range of which that is said, as far as it lies in @start to @end. */
static bool ff_prefer_next(struct ff_mirror *mirror, unsigned long *start,
			   unsigned long *end)
{
	MA_STATE(mas, &mirror->prefer, *start, *start);
	void *entry;

	guard(rcu)();
	entry = mas_find(&mas, *end - 1);
	*start = max(*start, mas.index);
	*end = min(*end - 1, mas.last) + 1;
	return entry;
}

/* Moves what is mapped around @address, within a range. */
static void ff_prefer_move_range(struct ff_move *move, struct mm_struct *mm,
				 unsigned long address, unsigned long start,
				 unsigned long end)
{
	struct vm_area_struct *vma;

	ff_evict_for(move->region, (end - start) >> PAGE_SHIFT);
	if (mmap_read_lock_killable(mm))
		return;
	vma = vma_lookup(mm, address);
	if (vma && vma->vm_flags & VM_READ &&
	    (vma_is_anonymous(vma) || READ_ONCE(vma->anon_vma)))
		ff_migrate_out(move, vma, max(start, vma->vm_start),
			       min(end, vma->vm_end));
	mmap_read_unlock(mm);
}

/* Whether what is moved to device memory has other pages leave it. */
bool ff_prefer_is_tight(struct ff_mirror *mirror)
{
	return mirror->region && !mtree_empty(&mirror->prefer) &&
	       ff_region_is_tight(mirror->region);
}

/*
 * Moves what is around a span to device memory, as far as that is wanted and possible.
 * Called with no lock held, by a thread of the process.
 */
void ff_prefer_move(struct ff_mirror *mirror, const struct ff_span *span)
{
	unsigned long block = ALIGN_DOWN(span->start, FF_LEVEL_SIZE(1));
	unsigned long address = span->start, start, end, last;
	bool tight;

	if (!mirror->region || mtree_empty(&mirror->prefer))
		return;
	struct ff_move *move __free(ff_move) =
		ff_move_alloc(mirror->region, FF_COUNT_MOVED_PREFERRED,
			      FF_BLOCK_PAGES);
	if (!move)
		return;
	tight = ff_region_is_tight(move->region);
	for (; address < span->end; address = last) {
		last = span->end;
		if (!ff_prefer_next(mirror, &address, &last))
			return;
		/* Of that range, all that is in the same 2 MiB. */
		start = tight ? address : block;
		end = tight ? last : block + FF_LEVEL_SIZE(1);
		ff_prefer_clip(mirror, address, &start, &end);
		ff_prefer_move_range(move, mirror->mm, address, start, end);
	}
}
