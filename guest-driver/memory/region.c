// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory as mm knows it: frames without an address for the CPU, which a page
 * of a process can lie in (MEMORY_DEVICE_PRIVATE).
 *
 * It is given out in blocks of 2 MiB, whole or page by page. All that there is to know
 * of a page is in its block, for a page has no place of its own to keep anything: mm
 * splits large ones, and fork shares them with processes that know no device.
 */
#include <linux/ioport.h>
#include <linux/migrate.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "memory/region.h"

/* Room is tight if less than this part of it is free, or fewer blocks. */
#define FF_TIGHT_SHARE	8
#define FF_TIGHT_BLOCKS	2UL

/* Where regions end whose device has gone before them. */
static struct workqueue_struct *ff_region_ends;

static struct ff_block *ff_block_of(struct ff_region *region,
				    unsigned long frame)
{
	return &region->blocks[(frame - region->start) / FF_BLOCK_PAGES];
}

static unsigned int ff_page_of(const struct ff_region *region,
			       unsigned long frame)
{
	return (frame - region->start) % FF_BLOCK_PAGES;
}

static unsigned long ff_block_frame(const struct ff_region *region,
				    const struct ff_block *block)
{
	return region->start + (block - region->blocks) * FF_BLOCK_PAGES;
}

/* Takes pages of a block. Returns the first of them. */
static unsigned int ff_block_take(struct ff_region *region,
				  struct ff_block *block, unsigned int pages)
{
	unsigned int first = find_first_zero_bit(block->used, FF_BLOCK_PAGES);

	lockdep_assert_held(&region->lock);
	bitmap_set(block->used, first, pages);
	bitmap_clear(block->lost, first, pages);
	block->free -= pages;
	/* Whoever has a page calls the module when he lets it go. */
	if (!region->used)
		__module_get(THIS_MODULE);
	region->used += pages;
	if (block->free)
		list_move(&block->link, &region->partial);
	else
		list_del_init(&block->link);
	list_move_tail(&block->order, &region->recent);
	return first;
}

/* Finds room in a block, in one that is begun if small pages will do. */
static struct ff_block *ff_region_find(struct ff_region *region,
				       unsigned int order)
{
	struct ff_block *block = NULL;

	lockdep_assert_held(&region->lock);
	if (region->closed)
		return NULL;
	if (!order)
		block = list_first_entry_or_null(&region->partial,
						 struct ff_block, link);
	return block ?: list_first_entry_or_null(&region->empty,
						 struct ff_block, link);
}

/*
 * A page of device memory, locked and with one reference, which gives it back when it
 * is dropped; or NULL if none is free. @order is 0 or FF_BLOCK_ORDER.
 */
struct folio *ff_region_alloc(struct ff_region *region, unsigned int order)
{
	struct ff_block *block;
	unsigned long frame;
	struct page *page;

	scoped_guard(spinlock, &region->lock) {
		block = ff_region_find(region, order);
		if (!block)
			return NULL;
		frame = ff_block_frame(region, block) +
			ff_block_take(region, block, 1U << order);
	}
	ff_count(&region->ff->counters, FF_COUNT_DEVICE_PAGES, 1L << order);
	/* It may look like a part of what it was a part of before. */
	page = pfn_to_page(frame);
	zone_device_page_init(page, &region->pgmap, order);
	if (order)
		folio_set_large_rmappable(page_folio(page));
	return page_folio(page);
}

/* The last reference to a page is gone: &struct dev_pagemap_ops.folio_free. */
void ff_region_free(struct folio *folio)
{
	struct ff_region *region = ff_region_of(folio);
	unsigned long frame = folio_pfn(folio), pages = folio_nr_pages(folio);
	struct ff_block *block = ff_block_of(region, frame);

	ff_count(&region->ff->counters, FF_COUNT_DEVICE_PAGES, -(s64)pages);
	guard(spinlock)(&region->lock);
	bitmap_clear(block->used, ff_page_of(region, frame), pages);
	block->free += pages;
	region->used -= pages;
	if (block->free == FF_BLOCK_PAGES) {
		list_move(&block->link, &region->empty);
		list_del_init(&block->order);
	} else {
		list_move_tail(&block->link, &region->partial);
	}
	if (region->used)
		return;
	if (region->orphaned)
		queue_work(ff_region_ends, &region->release);
	else
		module_put(THIS_MODULE); /* stays until mm gives up the frames */
}

/* The device is going to use a page. False if it has forgotten what was there. */
bool ff_region_use(struct ff_region *region, unsigned long frame)
{
	struct ff_block *block = ff_block_of(region, frame);

	guard(spinlock)(&region->lock);
	list_move_tail(&block->order, &region->recent);
	return !test_bit(ff_page_of(region, frame), block->lost);
}

/*
 * The first frame of the block that was used longest ago and in which something is that
 * the device has not lost; 0 if there is none.
 */
unsigned long ff_region_oldest(struct ff_region *region)
{
	struct ff_block *block;

	guard(spinlock)(&region->lock);
	list_for_each_entry(block, &region->recent, order) {
		if (bitmap_subset(block->used, block->lost, FF_BLOCK_PAGES))
			continue;
		/* If it cannot be had, the next one is asked for. */
		list_move_tail(&block->order, &region->recent);
		return ff_block_frame(region, block);
	}
	return 0;
}

/* Whether there is something in a device's memory that it has not lost. */
bool ff_regions_in_use(struct ff_device *ff)
{
	unsigned int i;

	for (i = 0; i < ff->nr_regions; i++)
		if (ff_region_oldest(ff->regions[i]))
			return true;
	return false;
}

/* Whether fewer pages than that are free, of a region that gives some out. */
bool ff_region_is_short(struct ff_region *region, unsigned long pages)
{
	guard(spinlock)(&region->lock);
	return !region->closed &&
	       region->nr_blocks * FF_BLOCK_PAGES - region->used < pages;
}

/* Whether so little is free that what is moved there soon makes other pages move. */
bool ff_region_is_tight(struct ff_region *region)
{
	unsigned long pages = region->nr_blocks * FF_BLOCK_PAGES;

	return ff_region_is_short(region, max(pages / FF_TIGHT_SHARE,
					      FF_TIGHT_BLOCKS * FF_BLOCK_PAGES));
}

static void ff_region_lose(struct ff_region *region)
{
	struct ff_block *block;

	guard(spinlock)(&region->lock);
	region->losses++;
	list_for_each_entry(block, &region->recent, order)
		bitmap_copy(block->lost, block->used, FF_BLOCK_PAGES);
}

/* The device has forgotten all that was in its memory. */
void ff_regions_lose(struct ff_device *ff)
{
	unsigned int i;

	for (i = 0; i < ff->nr_regions; i++)
		ff_region_lose(ff->regions[i]);
}

/* Whether it had forgotten a page since that was taken. */
bool ff_region_has_lost(struct ff_region *region, unsigned long frame)
{
	guard(spinlock)(&region->lock);
	return test_bit(ff_page_of(region, frame),
			ff_block_of(region, frame)->lost);
}

static void ff_region_blocks_init(struct ff_region *region)
{
	unsigned long i;

	INIT_LIST_HEAD(&region->empty);
	INIT_LIST_HEAD(&region->partial);
	INIT_LIST_HEAD(&region->recent);
	for (i = 0; i < region->nr_blocks; i++) {
		region->blocks[i].free = FF_BLOCK_PAGES;
		INIT_LIST_HEAD(&region->blocks[i].order);
		list_add_tail(&region->blocks[i].link, &region->empty);
	}
}

static void ff_region_unmap(struct ff_region *region)
{
	memunmap_pages(&region->pgmap);
	release_mem_region(region->pgmap.range.start,
			   range_len(&region->pgmap.range));
	ff_device_put(region->ff);
}

static void ff_region_release(struct work_struct *work)
{
	ff_region_unmap(container_of(work, struct ff_region, release));
	module_put(THIS_MODULE);
}

static int ff_region_map(struct ff_region *region, u64 bytes)
{
	struct resource *resource;
	void *memory;

	resource = request_free_mem_region(&iomem_resource, bytes,
					   region->ff->name);
	if (IS_ERR(resource))
		return PTR_ERR(resource);
	region->start = PHYS_PFN(resource->start);
	region->pgmap.range.start = resource->start;
	region->pgmap.range.end = resource->end;
	memory = memremap_pages(&region->pgmap, dev_to_node(region->ff->dev));
	if (IS_ERR(memory))
		release_mem_region(resource->start, resource_size(resource));
	return PTR_ERR_OR_ZERO(memory);
}

/* Makes the next @bytes of a device's memory known to mm. */
static int ff_region_add(struct ff_device *ff, u64 bytes,
			 const struct dev_pagemap_ops *ops)
{
	unsigned long nr = bytes / (FF_BLOCK_PAGES * PAGE_SIZE);
	struct ff_region *region = kvzalloc_flex(*region, blocks, nr);
	int ret;

	if (!region)
		return -ENOMEM;
	region->ff = ff;
	region->offset = ff->nr_regions * bytes;
	region->nr_blocks = nr;
	spin_lock_init(&region->lock);
	INIT_WORK(&region->release, ff_region_release);
	ff_region_blocks_init(region);
	region->pgmap.type = MEMORY_DEVICE_PRIVATE;
	region->pgmap.ops = ops;
	region->pgmap.owner = region;
	region->pgmap.nr_range = 1;
	ret = ff_region_map(region, bytes);
	if (ret) {
		kvfree(region);
		return ret;
	}
	kref_get(&ff->ref);
	ff->regions[ff->nr_regions++] = region;
	return 0;
}

/* Makes the memory of a device known to mm, in @nr regions. */
int ff_regions_add(struct ff_device *ff, unsigned int nr,
		   const struct dev_pagemap_ops *ops)
{
	const u64 block = FF_BLOCK_PAGES * PAGE_SIZE;
	u64 bytes = rounddown(div_u64(ff->vram, nr), block);
	int ret = 0;

	while (!ret && bytes && ff->nr_regions < nr)
		ret = ff_region_add(ff, bytes, ops);
	if (ret) {
		dev_err_probe(ff->dev, ret, "no place for %llu bytes of device memory\n",
			      ff->vram);
		ff_regions_remove(ff);
	}
	return ret;
}

/* Says whether it is given out: not if the device is about to stop, or has. */
void ff_regions_close(struct ff_device *ff, bool closed)
{
	unsigned int i;

	for (i = 0; i < ff->nr_regions; i++)
		scoped_guard(spinlock, &ff->regions[i]->lock)
			ff->regions[i]->closed = closed;
}

static void ff_region_remove(struct ff_region *region)
{
	unsigned long used;

	scoped_guard(spinlock, &region->lock) {
		used = region->used;
		region->orphaned = used;
	}
	if (!used)
		ff_region_unmap(region);
	else
		dev_warn(region->ff->dev, "%lu pages of device memory are lost\n",
			 used);
}

/*
 * The device has stopped. What pages are left nobody can bring back, and they go with
 * the mappings of the processes that have them: until then their region stays, and the
 * module with it.
 */
void ff_regions_remove(struct ff_device *ff)
{
	ff_regions_lose(ff);
	while (ff->nr_regions)
		ff_region_remove(ff->regions[--ff->nr_regions]);
}

int __init ff_regions_init(void)
{
	ff_region_ends = alloc_workqueue("farfault-memory", WQ_UNBOUND, 0);
	return ff_region_ends ? 0 : -ENOMEM;
}

/* Waits until no region is about to end. */
void ff_regions_exit(void)
{
	destroy_workqueue(ff_region_ends);
}
