// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all migrations have in common: where pages go, and how their contents get there.
 *
 * mm has taken the pages from where they were mapped, and holds them locked. Each that
 * cannot go, for want of a page to go to or of a device that copies, has no
 * destination then, and mm puts it back where it was.
 */
#include <linux/dma-mapping.h>
#include <linux/migrate.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "hw/copy.h"
#include "memory/move.h"

/* Room for so many pages, at most FF_BLOCK_PAGES. */
struct ff_move *ff_move_alloc(struct ff_region *region, enum ff_counter cause,
			      unsigned long room)
{
	struct ff_move *move = kvzalloc_obj(*move);

	if (!move)
		return NULL;
	move->region = region;
	move->cause = cause;
	move->room = room;
	move->src = kvcalloc(room, sizeof(*move->src), GFP_KERNEL);
	move->dst = kvcalloc(room, sizeof(*move->dst), GFP_KERNEL);
	move->dma = kvcalloc(room, sizeof(*move->dma), GFP_KERNEL);
	if (move->src && move->dst && move->dma)
		return move;
	ff_move_free(move);
	return NULL;
}

void ff_move_free(struct ff_move *move)
{
	if (!move)
		return;
	kvfree(move->src);
	kvfree(move->dst);
	kvfree(move->dma);
	kvfree(move);
}

/* --- Where to ------------------------------------------------------------- */

/*
 * Whether page @i can be moved. Where nothing is yet mm has something made in device
 * memory, but has nothing brought back from there; nor is what the device has lost.
 */
static bool ff_move_can(const struct ff_move *move, unsigned long i)
{
	unsigned long src = move->src[i];

	if (!(src & MIGRATE_PFN_MIGRATE))
		return false;
	if (move->direction == DMA_TO_DEVICE)
		return true;
	return src & MIGRATE_PFN_VALID &&
	       !ff_region_has_lost(move->region, src >> MIGRATE_PFN_SHIFT);
}

/* What is to be moved with page @i: nothing, it alone, or all of a large page. */
static unsigned long ff_move_pages(const struct ff_move *move, unsigned long i)
{
	unsigned long src = move->src[i];

	if (!ff_move_can(move, i))
		return 0;
	return src & MIGRATE_PFN_COMPOUND ? FF_BLOCK_PAGES : 1;
}

/* A page to move to, locked; or NULL. */
static struct folio *ff_move_folio(const struct ff_move *move, unsigned long i,
				   unsigned int order)
{
	const bool large = order, urgent = move->cause == FF_COUNT_MOVED_UNLOAD;
	gfp_t gfp = GFP_HIGHUSER_MOVABLE;
	struct folio *folio;

	/* Of a process's own pages small ones are worth killing somebody. */
	if (large || !move->vma)
		gfp |= __GFP_NOWARN | (large && !urgent ? __GFP_NORETRY :
							  __GFP_RETRY_MAYFAIL);
	if (large && xchg(&move->region->fail_large, false))
		return NULL;
	if (move->direction == DMA_TO_DEVICE)
		return ff_region_alloc(move->region, order);
	if (move->vma)
		folio = vma_alloc_folio(gfp, order, move->vma,
					move->address + (i << PAGE_SHIFT));
	else
		folio = folio_alloc(gfp, order);
	if (folio)
		folio_lock(folio);
	return folio;
}

static bool ff_move_find(struct ff_move *move, unsigned long i,
			 unsigned int order)
{
	struct folio *folio = ff_move_folio(move, i, order);

	if (!folio)
		return false;
	move->dst[i] = migrate_pfn(folio_pfn(folio)) |
		       (order ? MIGRATE_PFN_COMPOUND : 0);
	return true;
}

/* Page @i stays where it is. */
static void ff_move_forget(struct ff_move *move, unsigned long i)
{
	struct page *page = migrate_pfn_to_page(move->dst[i]);

	move->dst[i] = 0;
	if (!page)
		return;
	folio_unlock(page_folio(page));
	folio_put(page_folio(page));
}

/*
 * Whether small pages may be found for large page @i. mm splits it then, but only where
 * it knows it to be mapped (migrate_vma_split_unmapped_folio()): elsewhere a part of it
 * would be mapped as all of it. Where nothing is yet, there is nothing to split.
 */
static bool ff_move_may_split(const struct ff_move *move, unsigned long i)
{
	return move->vma && (!(move->src[i] & MIGRATE_PFN_VALID) ||
			     !move->shared);
}

/* Finds small pages, for all of them or for none. */
static int ff_move_find_small(struct ff_move *move, unsigned long i,
			      unsigned long pages)
{
	unsigned long j;

	for (j = 0; j < pages && ff_move_find(move, i + j, 0); j++)
		;
	if (j == pages)
		return 0;
	while (j)
		ff_move_forget(move, i + --j);
	return -ENOMEM;
}

/* Finds a place for each page. Returns -ENOMEM if some page has none. */
static int ff_move_find_all(struct ff_move *move)
{
	unsigned long i, pages;
	int ret = 0;

	for (i = 0; i < move->nr; i += max(pages, 1)) {
		pages = ff_move_pages(move, i);
		if (pages > 1 && ff_move_find(move, i, FF_BLOCK_ORDER))
			continue;
		if (pages > 1 && !ff_move_may_split(move, i)) {
			move->whole = true;
			ret = -ENOMEM;
		} else {
			ret = ff_move_find_small(move, i, pages) ?: ret;
		}
	}
	return ret;
}

/* --- What is in them ------------------------------------------------------ */

/* Pages that lie together where page @i goes: none, if it stays. */
static unsigned long ff_move_target(const struct ff_move *move, unsigned long i)
{
	if (!(move->dst[i] & MIGRATE_PFN_VALID))
		return 0;
	return move->dst[i] & MIGRATE_PFN_COMPOUND ? FF_BLOCK_PAGES : 1;
}

/* Page @i where it is now: NULL where nothing is, which reads as zeroes. */
static struct page *ff_move_source(const struct ff_move *move, unsigned long i)
{
	unsigned long head = i;

	/* Of a large page that goes to small ones only the first is named. */
	if (!(move->src[i] & MIGRATE_PFN_MIGRATE))
		head = ALIGN_DOWN(i, FF_BLOCK_PAGES);
	if (!(move->src[head] & MIGRATE_PFN_VALID))
		return NULL;
	return pfn_to_page((move->src[head] >> MIGRATE_PFN_SHIFT) + i - head);
}

/* That of the two pages that is in system memory, or NULL. */
static struct page *ff_move_system(const struct ff_move *move, unsigned long i)
{
	return move->direction == DMA_TO_DEVICE ? ff_move_source(move, i) :
		migrate_pfn_to_page(move->dst[i]);
}

/* Where the other is in the copy queue's address space. */
static u64 ff_move_device(const struct ff_move *move, unsigned long i)
{
	struct page *page = move->direction == DMA_TO_DEVICE ?
		migrate_pfn_to_page(move->dst[i]) : ff_move_source(move, i);

	return FF_COPY_DEVICE + ff_region_offset(move->region,
						 page_to_pfn(page));
}

/* Returns -ENOMEM if the device cannot reach some page, which stays then. */
static int ff_move_map(struct ff_move *move)
{
	struct device *dev = move->region->ff->dev;
	unsigned long i, pages;
	struct page *page;
	int ret = 0;

	for (i = 0; i < move->nr; i += max(pages, 1)) {
		pages = ff_move_target(move, i);
		page = pages ? ff_move_system(move, i) : NULL;
		if (!page)
			continue;
		move->dma[i] = dma_map_page(dev, page, 0, pages << PAGE_SHIFT,
					    move->direction);
		if (dma_mapping_error(dev, move->dma[i])) {
			ff_move_forget(move, i);
			ret = -ENOMEM;
		}
	}
	return ret;
}

static void ff_move_unmap(struct ff_move *move)
{
	struct device *dev = move->region->ff->dev;
	unsigned long i, pages;

	for (i = 0; i < move->nr; i += max(pages, 1)) {
		pages = ff_move_target(move, i);
		if (pages && ff_move_system(move, i))
			dma_unmap_page(dev, move->dma[i], pages << PAGE_SHIFT,
				       move->direction);
	}
}

static void ff_move_add(struct ff_move *move, unsigned long i,
			unsigned long pages)
{
	struct ff_device *ff = move->region->ff;
	u64 device = ff_move_device(move, i), length = pages << PAGE_SHIFT;

	if (move->direction == DMA_FROM_DEVICE)
		ff_copy_add(ff, move->dma[i], device, length);
	else if (ff_move_system(move, i))
		ff_copy_add(ff, device, move->dma[i], length);
	else
		ff_copy_add_zeroes(ff, device, length);
}

/*
 * Returns -EIO if some page may not have been copied. A device that has forgotten its
 * memory meanwhile would copy well, but nothing of any worth.
 */
static int ff_move_run(struct ff_move *move)
{
	struct ff_device *ff = move->region->ff;
	unsigned long i, pages;
	int section, mapped, ret = -EIO;

	if (!ff_device_enter(ff, &section))
		return -EIO;
	if (READ_ONCE(move->region->losses) != move->losses)
		goto exit;
	mapped = ff_move_map(move);
	ff_copy_begin(ff);
	for (i = 0; i < move->nr; i += max(pages, 1)) {
		pages = ff_move_target(move, i);
		if (pages)
			ff_move_add(move, i, pages);
	}
	ret = ff_copy_end(ff) ?: mapped;
	ff_move_unmap(move);
exit:
	ff_device_exit(ff, section);
	return ret;
}

/**
 * ff_move_copy() - Find a place for pages, and copy them there
 * @move: pages, which mm holds locked
 *
 * Return: 0; -ENOMEM if there was no place for some of them, which stay; -EIO if the
 * device has not copied, and they all stay.
 */
int ff_move_copy(struct ff_move *move)
{
	int found = ff_move_find_all(move);
	int ret = ff_move_run(move);
	unsigned long i;

	for (i = 0; ret == -EIO && i < move->nr; i++)
		ff_move_forget(move, i);
	return ret ?: found;
}

/* Counts the pages that have moved, once mm has said which. */
unsigned long ff_move_done(const struct ff_move *move)
{
	struct ff_counters *counters = &move->region->ff->counters;
	unsigned long i, pages, moved = 0;

	for (i = 0; i < move->nr; i += max(pages, 1)) {
		pages = ff_move_target(move, i);
		if (move->src[i] & MIGRATE_PFN_MIGRATE)
			moved += pages;
		else
			ff_count(counters, FF_COUNT_MOVES_REFUSED, pages);
	}
	ff_count(counters, move->cause, moved);
	return moved;
}
