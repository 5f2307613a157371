// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is to be in device memory when the device uses it.
 *
 * That is said of addresses, by advice, and stays so whatever is mapped there, until
 * something else is said or the file is closed. Of what nothing is said the module's
 * parameter prefer_device decides. A fault of the device then moves what is
 * around it, so that the next page of the same 2 MiB does not fault; what cannot be moved
 * is used where it is. It is left to the CPU to take pages back by touching them.
 *
 * Where room is tight, only what was asked for is moved: the rest of the 2 MiB would have as
 * many pages leave that are in use, to be used itself or not.
 */
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/xarray.h>

#include "hw/device.h"
#include "memory/move.h"
#include "mirror/prefer.h"

static bool ff_prefer_device;
module_param_named(prefer_device, ff_prefer_device, bool, 0444);
MODULE_PARM_DESC(prefer_device, "Move what the device uses to its memory, unless a program advises otherwise");

/* Says that of a range. Returns 0 or -ENOMEM. */
int ff_prefer_set(struct ff_mirror *mirror, unsigned long start,
		  unsigned long end, enum ff_preference preference)
{
	return mtree_store_range(&mirror->prefer, start, end - 1,
				 xa_mk_value(preference), GFP_KERNEL_ACCOUNT);
}

/* Whether something is preferred anywhere. */
static bool ff_prefer_is_any(struct ff_mirror *mirror)
{
	return mirror->region &&
	       (ff_prefer_device || !mtree_empty(&mirror->prefer));
}

/* What is said of @address, which is said of this part of @start to @end. */
enum ff_preference ff_prefer_at(struct ff_mirror *mirror,
				unsigned long address, unsigned long *start,
				unsigned long *end)
{
	MA_STATE(mas, &mirror->prefer, address, address);
	void *entry;

	guard(rcu)();
	entry = mas_walk(&mas);
	*start = max(*start, mas.index);
	*end = min(*end - 1, mas.last) + 1;
	if (entry)
		return xa_to_value(entry);
	return ff_prefer_device ? FF_PREFER_DEVICE : FF_PREFER_NOTHING;
}

/* Moves what is mapped around @address, within a range. */
void ff_prefer_move_range(struct ff_move *move, struct ff_mirror *mirror,
			  unsigned long address, unsigned long start,
			  unsigned long end)
{
	struct mm_struct *mm = mirror->mm;
	struct vm_area_struct *vma;
	long moved = 0;

	if (ff_thrash_rests(&mirror->thrash, start)) {
		ff_count(&mirror->ff->counters, FF_COUNT_MOVES_DAMPED, 1);
		return;
	}
	ff_evict_for(move->region, (end - start) >> PAGE_SHIFT);
	if (mmap_read_lock_killable(mm))
		return;
	vma = vma_lookup(mm, address);
	if (vma && vma->vm_flags & VM_READ &&
	    (vma_is_anonymous(vma) || READ_ONCE(vma->anon_vma)))
		moved = ff_migrate_out(move, vma, max(start, vma->vm_start),
				       min(end, vma->vm_end));
	mmap_read_unlock(mm);
	if (moved > 0)
		ff_thrash_moved(&mirror->thrash, start);
}

/* Whether a fault of the device moves what it needs. */
static bool ff_prefer_moves(enum ff_preference preference,
			    const struct ff_span *span)
{
	return preference == FF_PREFER_DEVICE ||
	       (preference == FF_PREFER_WRITTEN &&
		span->request & HMM_PFN_REQ_WRITE);
}

/*
 * Whether the first write of the device is to be a fault, for it moves what it writes:
 * then a read alone does not let it write, although the CPU may.
 */
bool ff_prefer_awaits_write(struct ff_mirror *mirror, const struct ff_span *span,
			    unsigned long address)
{
	unsigned long start = address, end = address + PAGE_SIZE;

	return !(span->request & HMM_PFN_REQ_WRITE) &&
	       ff_prefer_is_any(mirror) &&
	       ff_prefer_at(mirror, address, &start, &end) ==
	       FF_PREFER_WRITTEN;
}

/* Whether what is moved to device memory has other pages leave it. */
bool ff_prefer_is_tight(struct ff_mirror *mirror)
{
	return ff_prefer_is_any(mirror) && ff_region_is_tight(mirror->region);
}

/*
 * Moves what is around a span to device memory, as far as that is wanted and possible.
 * Called with no lock held, by a thread of the process.
 */
void ff_prefer_move(struct ff_mirror *mirror, const struct ff_span *span)
{
	unsigned long block = ALIGN_DOWN(span->start, FF_LEVEL_SIZE(1));
	unsigned long address, start, end, next;
	bool tight;

	if (!ff_prefer_is_any(mirror))
		return;
	struct ff_move *move __free(ff_move) =
		ff_move_alloc(mirror->region, FF_COUNT_MOVED_PREFERRED,
			      FF_BLOCK_PAGES);
	if (!move)
		return;
	tight = ff_region_is_tight(move->region);
	for (address = span->start; address < span->end; address = next) {
		/* All that is in the same 2 MiB and of which the same is said. */
		start = tight ? address : block;
		end = tight ? span->end : block + FF_LEVEL_SIZE(1);
		if (ff_prefer_moves(ff_prefer_at(mirror, address, &start, &end),
				    span))
			ff_prefer_move_range(move, mirror, address, start, end);
		next = end;
	}
}
