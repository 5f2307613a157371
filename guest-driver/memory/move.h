/* SPDX-License-Identifier: GPL-2.0-only */
/* Moving pages between system memory and device memory. */
#ifndef FF_MOVE_H
#define FF_MOVE_H

#include <linux/dma-direction.h>
#include <linux/mm_types.h>

#include "memory/region.h"

/**
 * struct ff_move - Pages that move together: of the same 2 MiB
 * @region: device memory that they move to or from
 * @cause: as what they are counted
 * @room: in the arrays
 * @nr: pages, at most @room
 * @direction: DMA_TO_DEVICE or DMA_FROM_DEVICE
 * @vma: where they are mapped, or NULL if that is not known
 * @address: of the first of them, if it is
 * @losses: of the region, when the pages were looked for
 * @shared: somebody else may map them, too
 * @whole: some large page stays, as there is no large page for it to go to
 * @src: what migrate_vma_setup() and its like have found, a word for each page
 * @dst: where it goes, likewise; 0 if it stays
 * @dma: where the device finds the page in system memory
 */
struct ff_move {
	struct ff_region *region;
	enum ff_counter cause;
	unsigned long room;
	unsigned long nr;
	enum dma_data_direction direction;
	struct vm_area_struct *vma;
	unsigned long address;
	unsigned int losses;
	bool shared;
	bool whole;
	unsigned long *src;
	unsigned long *dst;
	dma_addr_t *dma;
};

struct ff_move *ff_move_alloc(struct ff_region *region, enum ff_counter cause,
			      unsigned long room);
void ff_move_free(struct ff_move *move);
DEFINE_FREE(ff_move, struct ff_move *, ff_move_free(_T))

int ff_move_copy(struct ff_move *move);
unsigned long ff_move_done(const struct ff_move *move);

long ff_migrate_out(struct ff_move *move, struct vm_area_struct *vma,
		    unsigned long start, unsigned long end);
long ff_migrate_back(struct ff_move *move, struct vm_area_struct *vma,
		     unsigned long start, unsigned long end);
void ff_evict_for(struct ff_region *region, unsigned long pages);
void ff_evict_all(struct ff_region *region);

extern const struct dev_pagemap_ops ff_region_ops;

#endif /* FF_MOVE_H */
