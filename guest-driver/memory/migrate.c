// SPDX-License-Identifier: GPL-2.0-only
/*
 * Migration of what a process has mapped, to device memory and back.
 *
 * mm raises MMU_NOTIFY_MIGRATE for the range before it takes the pages out, and the
 * mirror answers as it does to any other invalidation: when it returns, the device
 * reaches none of them. So nothing changes under a copy. Pages that are in device memory
 * already are not meant if others go there, and stay mapped.
 *
 * No lock of the driver is held here, but for that of the copy queue while the device
 * copies: the CPU comes here with a fault of its own (ff_migrate_to_ram()), and so
 * does whoever waits for a page that is on its way.
 */
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "memory/move.h"

/* What comes back with a small page, as far as it is there. */
#define FF_TOUCH_SIZE	SZ_64K

/* Returns pages that have moved, or as ff_move_copy(), or as migrate_vma_setup(). */
static long ff_migrate(struct ff_move *move, struct migrate_vma *args)
{
	unsigned long moved;
	int ret;

	mmap_assert_locked(args->vma->vm_mm);
	move->losses = READ_ONCE(move->region->losses);
	move->whole = false;
	args->src = move->src;
	args->dst = move->dst;
	args->pgmap_owner = move->direction == DMA_TO_DEVICE ?
		ff_region_outward(move->region) : move->region;
	ret = migrate_vma_setup(args);
	if (ret || !args->cpages)
		return ret;
	move->vma = args->vma;
	move->address = args->start;
	move->nr = args->npages;
	ret = ff_move_copy(move);
	migrate_vma_pages(args);
	moved = ff_move_done(move);
	migrate_vma_finalize(args);
	return moved ?: ret;
}

/*
 * Moves large pages as such, and those that would need a large page to go to, and find
 * none, in a second turn: then mm splits them first.
 */
static long ff_migrate_range_of(struct ff_move *move, struct migrate_vma *args)
{
	const struct migrate_vma again = *args;
	long first, second;

	move->shared = true;
	args->flags |= MIGRATE_VMA_SELECT_COMPOUND;
	first = ff_migrate(move, args);
	if (first < 0 && first != -ENOMEM)
		return first;
	if (!move->whole)
		return first;
	*args = again;
	second = ff_migrate(move, args);
	return first > 0 ? first + max(second, 0) : second;
}

/**
 * ff_migrate_out() - Move pages to device memory
 * @move: of the caller, with room for the range
 * @vma: where they are mapped; the mmap lock is held
 * @start: first address
 * @end: end, in the same 2 MiB and in @vma
 *
 * Of pages that were never touched zeroes are made there.
 *
 * Return: pages that have moved, which can be fewer than there are; -EINVAL if
 * nothing of @vma can; -ENOMEM if there was no device memory for any, -EIO if the device
 * does not copy.
 */
long ff_migrate_out(struct ff_move *move, struct vm_area_struct *vma,
		    unsigned long start, unsigned long end)
{
	struct migrate_vma args = {
		.vma = vma,
		.start = start,
		.end = end,
		.flags = MIGRATE_VMA_SELECT_SYSTEM,
	};

	move->direction = DMA_TO_DEVICE;
	return ff_migrate_range_of(move, &args);
}

/* As ff_migrate_out(), but moves what is in device memory back to system memory. */
long ff_migrate_back(struct ff_move *move, struct vm_area_struct *vma,
		     unsigned long start, unsigned long end)
{
	struct migrate_vma args = {
		.vma = vma,
		.start = start,
		.end = end,
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
	};

	move->direction = DMA_FROM_DEVICE;
	return ff_migrate_range_of(move, &args);
}

/*
 * What comes back with a page that the CPU touches: a large one as a whole if the CPU
 * maps it so, and of a small one what is around it, for each time the device has to let
 * go. Of a large one that the CPU maps in parts mm splits off the page alone: it would take
 * others for the one that has faulted, and is locked.
 */
static unsigned long ff_migrate_around(const struct vm_fault *vmf)
{
	struct folio *folio = page_folio(vmf->page);

	if (!folio_test_large(folio))
		return FF_TOUCH_SIZE;
	return vmf->pte ? PAGE_SIZE : folio_size(folio);
}

/*
 * The CPU touches a page that is in device memory: &struct
 * dev_pagemap_ops.migrate_to_ram. If it cannot be had now, but could be later, the CPU
 * faults again.
 */
static vm_fault_t ff_migrate_to_ram(struct vm_fault *vmf)
{
	struct ff_region *region = ff_region_of(page_folio(vmf->page));
	unsigned long size = ff_migrate_around(vmf);
	unsigned long start = ALIGN_DOWN(vmf->address, size);
	struct migrate_vma args = {
		.vma = vmf->vma,
		.start = max(start, vmf->vma->vm_start),
		.end = min(start + size, vmf->vma->vm_end),
		.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
			 (vmf->pte ? 0 : MIGRATE_VMA_SELECT_COMPOUND),
		.fault_page = vmf->page,
	};
	long ret;

	struct ff_move *move __free(ff_move) =
		ff_move_alloc(region, FF_COUNT_MOVED_TOUCHED, size >> PAGE_SHIFT);
	if (!move)
		return VM_FAULT_OOM;
	if (ff_region_has_lost(region, page_to_pfn(vmf->page)))
		return VM_FAULT_SIGBUS;
	move->direction = DMA_FROM_DEVICE;
	move->shared = folio_mapcount(page_folio(vmf->page)) > 1;
	ret = ff_migrate(move, &args);
	if (ret == -ENOMEM)
		return VM_FAULT_OOM;
	return ret < 0 ? VM_FAULT_SIGBUS : 0;
}

const struct dev_pagemap_ops ff_region_ops = {
	.folio_free = ff_region_free,
	.migrate_to_ram = ff_migrate_to_ram,
};
