// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device's page table.
 *
 * The device walks it at any time. So an entry changes in one store; a table
 * is complete before an entry points to it; and a table that was unlinked is
 * freed only after an invalidation of an address below it has been carried
 * out, for then no walk that began before is left.
 */
#include <linux/bug.h>
#include <linux/minmax.h>

#include "base/counters.h"
#include "pgtable/dma.h"
#include "pgtable/pgtable.h"

static_assert(PAGE_SHIFT == 12, "the device knows 4 KiB pages");

int ff_pgtable_init(struct ff_pgtable *pgt, struct device *dev,
		    struct ff_counters *counters, bool translated)
{
	pgt->dev = dev;
	pgt->counters = counters;
	pgt->translated = translated;
	pgt->root = ff_table_alloc(pgt, GFP_KERNEL_ACCOUNT);
	if (!pgt->root)
		return -ENOMEM;
	pgt->root->level = FF_PT_LEVELS - 1;
	return 0;
}

/* Frees the root of a page table that was zapped and that the device no longer knows. */
void ff_pgtable_fini(struct ff_pgtable *pgt)
{
	WARN_ON_ONCE(pgt->root->used);
	ff_table_free(pgt, pgt->root);
}

/*
 * The table of @level that covers @address, made from @spares if need be, or
 * NULL if a leaf stands where the way to it would go.
 */
static struct ff_table *ff_table_get(struct ff_pgtable *pgt,
				     unsigned long address, unsigned int level,
				     struct list_head *spares)
{
	struct ff_table *table = ff_table_find(pgt, address, level);
	struct ff_table *parent;
	unsigned int index;

	if (table)
		return table;
	parent = ff_table_get(pgt, address, level + 1, spares);
	if (!parent)
		return NULL;
	index = ff_index(address, level + 1);
	if (ff_entry(parent, index))
		return NULL;
	table = list_first_entry_or_null(spares, struct ff_table, link);
	if (WARN_ON_ONCE(!table))
		return NULL;

	list_del(&table->link);
	ff_table_link(pgt, table, parent, address);
	/* Its zeroes, then the way to it. */
	dma_wmb();
	ff_entry_set(parent, index, table->dma | FF_PTE_VALID);
	parent->used++;
	return table;
}

static struct ff_leaf ff_pgtable_find(struct ff_pgtable *pgt,
				      unsigned long address,
				      unsigned int *level)
{
	struct ff_table *table;
	struct ff_leaf leaf;

	for (*level = 0; *level < FF_PT_LEVELS - 1; ++*level) {
		table = ff_table_find(pgt, address, *level);
		if (!table)
			continue;
		leaf = ff_leaf_get(table, ff_index(address, *level));
		if (leaf.entry & FF_PTE_LEAF)
			return leaf;
		break;
	}
	*level = 0;
	return (struct ff_leaf) {};
}

/* The leaf that maps an address, if any. */
struct ff_leaf ff_pgtable_lookup(struct ff_pgtable *pgt, unsigned long address)
{
	unsigned int level;

	return ff_pgtable_find(pgt, address, &level);
}

/* Its level; 0 if there is none. */
unsigned int ff_pgtable_level(struct ff_pgtable *pgt, unsigned long address)
{
	unsigned int level;

	ff_pgtable_find(pgt, address, &level);
	return level;
}

/*
 * Splits the 2 MiB leaf that maps @address already, for one page of it is to
 * be written and the others are not. There is no need for it if the CPU maps it
 * as a whole.
 */
static struct ff_table *ff_pgtable_part(struct ff_pgtable *pgt,
					unsigned long address, u64 entry,
					struct list_head *spares)
{
	struct ff_table *table = ff_table_find(pgt, address, 1);
	struct ff_table *small;

	small = list_first_entry_or_null(spares, struct ff_table, link);
	/* The CPU maps 1 GiB as a whole or not at all, and so is DMA mapped. */
	if (WARN_ON_ONCE(!table || !small || entry & FF_PTE_MAPPED))
		return NULL;
	list_del(&small->link);
	ff_leaf_split(pgt, table, ff_index(address, 1), small);
	return small;
}

/**
 * ff_pgtable_map() - Enter a leaf
 * @pgt: page table
 * @address: aligned to the size of the leaf
 * @level: 0, 1 or 2 for 4 KiB, 2 MiB or 1 GiB
 * @leaf: what it is to map
 * @spares: at least FF_PGTABLE_SPARES tables
 *
 * A valid leaf is never replaced by one for another frame: that would need an
 * invalidation in between, and mmu notifiers see to it that there was one.
 * Permission can be added to it, for the device walks again before it reports
 * that permission is missing.
 *
 * Return: 0; -EEXIST if no leaf of that size fits, because smaller pages are
 * mapped there, which level 0 never gives; -EIO and a warning if something is
 * there that cannot be.
 */
int ff_pgtable_map(struct ff_pgtable *pgt, unsigned long address,
		   unsigned int level, struct ff_leaf leaf,
		   struct list_head *spares)
{
	struct ff_table *table = ff_table_get(pgt, address, level, spares);
	unsigned int index = ff_index(address, level);
	struct ff_leaf old;

	if (!table) {
		/* A larger leaf maps it, and the CPU has not changed it. */
		old = ff_pgtable_lookup(pgt, address);
		if (!(leaf.entry & ~old.entry & (FF_PTE_READ | FF_PTE_WRITE)))
			return 0;
		table = ff_pgtable_part(pgt, address, leaf.entry, spares);
	}
	if (!table)
		return -EIO;

	old = ff_leaf_get(table, index);
	if (WARN_ON_ONCE(ff_entry_is_stale(old.entry)))
		return -EIO;
	if (old.entry & FF_PTE_VALID) {
		if (!(old.entry & FF_PTE_LEAF))
			return -EEXIST;
		if (WARN_ON_ONCE((old.entry ^ leaf.entry) & FF_PTE_ADDRESS ||
				 (old.frame && old.frame != leaf.frame)))
			return -EIO;
		leaf.entry |= old.entry;
	} else {
		table->used++;
		ff_count(pgt->counters, FF_COUNT_PAGES_MAPPED,
			 FF_LEVEL_PAGES(level));
		if (level == 1)
			ff_count(pgt->counters, FF_COUNT_LEAVES_2M, 1);
		if (level == 2)
			ff_count(pgt->counters, FF_COUNT_LEAVES_1G, 1);
	}
	ff_leaf_set(table, index, leaf);
	return 0;
}

/*
 * Of a leaf that a range covers only in part the rest stays mapped, if there is
 * memory to write it down: this runs in reclaim, and must not wait for any. What
 * was mapped for DMA as a whole goes as a whole.
 */
static bool ff_leaf_keep(struct ff_pgtable *pgt, struct ff_table *table,
			 unsigned int index)
{
	struct ff_table *small;

	if (!table->level || ff_entry(table, index) & FF_PTE_MAPPED)
		return false;
	small = ff_table_alloc(pgt, GFP_NOWAIT | __GFP_NOWARN);
	if (!small)
		return false;
	ff_leaf_split(pgt, table, index, small);
	return true;
}

/* Takes out the leaves of @table that touch the range. */
static void ff_table_zap(struct ff_pgtable *pgt, struct ff_table *table,
			 unsigned long start, unsigned long end,
			 struct ff_gather *gather)
{
	unsigned int level = table->level;
	unsigned int index = ff_table_from(table, start);
	unsigned int last = ff_table_to(table, end);
	unsigned long address;
	u64 entry;

	for (; index <= last; index++) {
		entry = ff_entry(table, index);
		if (!(entry & FF_PTE_LEAF) || entry & gather->keep)
			continue;
		address = table->start + index * FF_LEVEL_SIZE(level);
		if ((address < start || address + FF_LEVEL_SIZE(level) > end) &&
		    ff_leaf_keep(pgt, table, index))
			continue;
		if (entry & FF_PTE_MAPPED) {
			ff_entry_set(table, index,
				     entry & (FF_PTE_ADDRESS | FF_PTE_MAPPED));
			pgt->stale++;
		} else {
			ff_entry_set(table, index, 0);
			table->used--;
		}

		gather->start = min(gather->start, address);
		gather->end = max(gather->end, address + FF_LEVEL_SIZE(level));
		gather->pages += FF_LEVEL_PAGES(level);
		if (entry & FF_PTE_WRITE && gather->writable)
			gather->writable(gather->context, table->frames[index],
					 FF_LEVEL_PAGES(level));
	}
}

void ff_gather_init(struct ff_gather *gather,
		    void (*writable)(void *context, unsigned long frame,
				     unsigned long pages),
		    void *context)
{
	gather->start = ULONG_MAX;
	gather->end = 0;
	gather->pages = 0;
	gather->keep = 0;
	INIT_LIST_HEAD(&gather->tables);
	gather->writable = writable;
	gather->context = context;
}

/**
 * ff_pgtable_zap() - Take out all leaves that touch a range
 * @pgt: page table
 * @start: first address
 * @end: end
 * @gather: what was taken out is added to it
 *
 * From the top down, for what a large leaf leaves over is small leaves. If there
 * is no memory for those it goes as a whole, and faults in again. What was mapped
 * for DMA is stale afterwards, and to be given to ff_dma_reap() once a flush has
 * passed. Does not sleep.
 */
void ff_pgtable_zap(struct ff_pgtable *pgt, unsigned long start,
		    unsigned long end, struct ff_gather *gather)
{
	unsigned long before = gather->pages;
	struct ff_table *table, *next;
	int level;

	for (level = FF_PT_LEVELS - 2; level >= 0; level--) {
		table = ff_table_first(pgt, start, level);
		for (; table && table->start < end; table = next) {
			next = ff_table_next(table);
			ff_table_zap(pgt, table, start, end, gather);
			if (!table->used)
				ff_table_unlink(pgt, table, &gather->tables);
		}
	}
	ff_count(pgt->counters, FF_COUNT_PAGES_ZAPPED, gather->pages - before);
}
