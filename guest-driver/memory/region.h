/* SPDX-License-Identifier: GPL-2.0-only */
/* Device memory as mm knows it, and who has which page of it. */
#ifndef FF_REGION_H
#define FF_REGION_H

#include <linux/bitmap.h>
#include <linux/memremap.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "hw/device.h"

/* A block, and a large page: 2 MiB. */
#define FF_BLOCK_ORDER	FF_PT_BITS
#define FF_BLOCK_PAGES	BIT(FF_BLOCK_ORDER)

/**
 * struct ff_block - 2 MiB of device memory: a large page, or small ones
 * @link: in &struct ff_region.empty or .partial; in no list if all is taken
 * @order: in &struct ff_region.recent if something is taken
 * @used: a bit for each page that is taken
 * @lost: of those, what the device has forgotten in a reset
 * @free: pages that are not taken
 */
struct ff_block {
	struct list_head link;
	struct list_head order;
	DECLARE_BITMAP(used, FF_BLOCK_PAGES);
	DECLARE_BITMAP(lost, FF_BLOCK_PAGES);
	unsigned int free;
};

/**
 * struct ff_region - A part of a device's memory, which is freed with it
 * @pgmap: its frames; the region is the owner of it
 * @ff: device, to which it holds a reference as long as @pgmap is there
 * @offset: where it is in device memory, in bytes
 * @start: first frame
 * @nr_blocks: number of blocks
 * @lock: protects what follows; taken when a page is freed, and so inside of the locks
 *	of CPU page tables, and nothing inside
 * @empty: blocks of which nothing is taken
 * @partial: blocks of which some pages are
 * @recent: blocks of which something is, the one used longest ago first
 * @used: pages that are taken; as long as there are some, the module stays
 * @losses: times that the device has forgotten all that was there
 * @closed: no page is given out
 * @fail_large: the next large page is refused, here or in system memory, for a test
 * @orphaned: the device is gone, and pages that it has lost are all that is left
 * @release: ends an orphaned region with its last page
 * @blocks: all of them
 */
struct ff_region {
	struct dev_pagemap pgmap;
	struct ff_device *ff;
	u64 offset;
	unsigned long start;
	unsigned long nr_blocks;
	spinlock_t lock; /* blocks */
	struct list_head empty;
	struct list_head partial;
	struct list_head recent;
	unsigned long used;
	unsigned int losses;
	bool closed;
	bool fail_large;
	bool orphaned;
	struct work_struct release;
	struct ff_block blocks[];
};

/* Whether a frame is of the region, which may be none. */
static inline bool ff_region_has(const struct ff_region *region,
				 unsigned long frame)
{
	return region && frame - region->start <
			 region->nr_blocks * FF_BLOCK_PAGES;
}

/*
 * Who moves pages to the region, for the notifiers of its mirrors: what is there already
 * stays, so that is not the owner of its frames.
 */
static inline void *ff_region_outward(struct ff_region *region)
{
	return &region->start;
}

static inline struct ff_region *ff_region_of(const struct folio *folio)
{
	return container_of(folio->pgmap, struct ff_region, pgmap);
}

/* Where a page is in device memory, in bytes. */
static inline u64 ff_region_offset(const struct ff_region *region,
				   unsigned long frame)
{
	return region->offset + PFN_PHYS(frame - region->start);
}

int ff_regions_init(void);
void ff_regions_exit(void);
int ff_regions_add(struct ff_device *ff, unsigned int nr,
		   const struct dev_pagemap_ops *ops);
void ff_regions_close(struct ff_device *ff, bool closed);
void ff_regions_lose(struct ff_device *ff);
void ff_regions_remove(struct ff_device *ff);

struct folio *ff_region_alloc(struct ff_region *region, unsigned int order);
void ff_region_free(struct folio *folio);
bool ff_region_use(struct ff_region *region, unsigned long frame);
bool ff_regions_in_use(struct ff_device *ff);
bool ff_region_has_lost(struct ff_region *region, unsigned long frame);
unsigned long ff_region_oldest(struct ff_region *region);
bool ff_region_is_short(struct ff_region *region, unsigned long pages);
bool ff_region_is_tight(struct ff_region *region);

#endif /* FF_REGION_H */
