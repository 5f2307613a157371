// SPDX-License-Identifier: GPL-2.0-only
/*
 * Migration as a program asks for it.
 */
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "hw/device.h"
#include "memory/move.h"

/*
 * Of a file nothing moves but what a private mapping has of its own; whoever asks for
 * pages of which mm moves none hears of it.
 */
static bool ff_migrate_is_worth(const struct vm_area_struct *vma)
{
	return vma_is_anonymous(vma) || READ_ONCE(vma->anon_vma) ||
	       is_vm_hugetlb_page(vma) || vma->vm_flags & VM_SPECIAL;
}

/*
 * Moves what can be of the 2 MiB around @start, up to @end and the end of the mapping.
 * Returns how far that was. The mmap lock is held no longer than that.
 */
static long ff_migrate_piece(struct ff_ctx *ctx, struct ff_move *move,
			     struct ff_migrate *migrate, unsigned long start,
			     unsigned long end)
{
	struct mm_struct *mm = ctx->mirror.mm;
	struct vm_area_struct *vma;
	long moved = -EFAULT;

	end = min(end, ALIGN_DOWN(start, FF_SPAN_SIZE) + FF_SPAN_SIZE);
	if (migrate->target == FF_MIGRATE_DEVICE)
		ff_evict_for(move->region, (end - start) >> PAGE_SHIFT);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma = vma_lookup(mm, start);
	if (vma && vma->vm_flags & VM_READ) {
		end = min(end, vma->vm_end);
		moved = 0;
	}
	if (!moved && ff_migrate_is_worth(vma)) {
		moved = migrate->target == FF_MIGRATE_DEVICE ?
			ff_migrate_out(move, vma, start, end) :
			ff_migrate_back(move, vma, start, end);
	}
	mmap_read_unlock(mm);

	/* What has no room stays where it is. */
	if (moved == -ENOMEM)
		moved = 0;
	if (moved == -EINVAL)
		return -EOPNOTSUPP;
	if (moved < 0)
		return moved;
	migrate->moved += moved;
	return end;
}

/**
 * ff_migrate_range() - Move what can be moved of a range
 * @ctx: context
 * @migrate: where, and where to; moved grows by the pages that have been
 * @cause: as what they are counted
 *
 * Return: 0; -EFAULT, -EOPNOTSUPP or -EIO, as FF_IOC_MIGRATE says; -ENOMEM, -EINTR, -ENODEV.
 */
int ff_migrate_range(struct ff_ctx *ctx, struct ff_migrate *migrate,
		     enum ff_counter cause)
{
	unsigned long start = migrate->address;
	unsigned long end = start + migrate->length;
	long next;

	struct ff_move *move __free(ff_move) =
		ff_move_alloc(ctx->mirror.region, cause, FF_BLOCK_PAGES);
	if (!move)
		return -ENOMEM;
	for (; start < end; start = next) {
		if (READ_ONCE(ctx->mirror.closing))
			return -ENODEV;
		if (fatal_signal_pending(current))
			return -EINTR;
		next = ff_migrate_piece(ctx, move, migrate, start, end);
		if (next < 0)
			return next;
		cond_resched();
	}
	return 0;
}

/* FF_IOC_MIGRATE */
int ff_ioctl_migrate(struct ff_ctx *ctx, void *arg)
{
	struct ff_migrate *migrate = arg;
	u64 end;

	migrate->moved = 0;
	if (migrate->reserved || !PAGE_ALIGNED(migrate->address) ||
	    !PAGE_ALIGNED(migrate->length) ||
	    check_add_overflow(migrate->address, migrate->length, &end))
		return -EINVAL;
	if (migrate->target != FF_MIGRATE_DEVICE &&
	    migrate->target != FF_MIGRATE_SYSTEM)
		return -EINVAL;
	if (!access_ok(u64_to_user_ptr(migrate->address), migrate->length))
		return -EFAULT;
	if (!ctx->mirror.region)
		return -EOPNOTSUPP;
	return ff_migrate_range(ctx, migrate,
				migrate->target == FF_MIGRATE_DEVICE ?
				FF_COUNT_MOVED_OUT : FF_COUNT_MOVED_BACK);
}
