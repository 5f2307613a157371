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

#include "ff_counters.h"
#include "ff_leaf.h"
#include "ff_pgtable.h"

static_assert(PAGE_SHIFT == 12, "the device knows 4 KiB pages");

/**
 * ff_pgtable_init() - Make an empty page table
 * @pgt: page table
 * @dev: device that will walk it
 * @counters: of that device
 *
 * Return: 0 or -ENOMEM.
 */
int ff_pgtable_init(struct ff_pgtable *pgt, struct device *dev,
		    struct ff_counters *counters)
{
	pgt->dev = dev;
	pgt->counters = counters;
	pgt->root = ff_table_alloc(pgt, GFP_KERNEL);
	if (!pgt->root)
		return -ENOMEM;
	pgt->root->level = FF_PT_LEVELS - 1;
	return 0;
}

/**
 * ff_pgtable_fini() - Free the root of a page table that was zapped
 * @pgt: page table that the device no longer knows
 */
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
	if (ff_entry(parent, index) & FF_PTE_VALID)
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

/**
 * ff_pgtable_lookup() - The leaf that maps an address
 * @pgt: page table
 * @address: virtual address
 *
 * Return: its entry, or 0.
 */
u64 ff_pgtable_lookup(struct ff_pgtable *pgt, unsigned long address)
{
	struct ff_table *table;
	unsigned int level;
	u64 entry;

	for (level = 0; level < FF_PT_LEVELS - 1; level++) {
		table = ff_table_find(pgt, address, level);
		if (!table)
			continue;
		entry = ff_entry(table, ff_index(address, level));
		return entry & FF_PTE_LEAF ? entry : 0;
	}
	return 0;
}

/*
 * Splits the 2 MiB leaf that maps @address already, for one page of it is to
 * be written and the others are not. Returns NULL if there is no need.
 */
static struct ff_table *ff_pgtable_part(struct ff_pgtable *pgt,
					unsigned long address, u64 entry,
					struct list_head *spares)
{
	struct ff_table *table = ff_table_find(pgt, address, 1);
	struct ff_table *small;

	if (!(entry & FF_PTE_WRITE & ~ff_pgtable_lookup(pgt, address)))
		return NULL;
	small = list_first_entry_or_null(spares, struct ff_table, link);
	/* The CPU maps 1 GiB as a whole or not at all. */
	if (WARN_ON_ONCE(!table || !small))
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
 * @entry: the leaf
 * @spares: from ff_tables_fill()
 *
 * A valid leaf is never replaced by one for another frame: that would need an
 * invalidation in between, and mmu notifiers see to it that there was one.
 * Permission can be added to it, for the device walks again before it reports
 * that permission is missing.
 *
 * Return: false if no leaf of that size fits, because smaller pages are mapped
 * there. Always true for level 0.
 */
bool ff_pgtable_map(struct ff_pgtable *pgt, unsigned long address,
		    unsigned int level, u64 entry, struct list_head *spares)
{
	struct ff_table *table = ff_table_get(pgt, address, level, spares);
	unsigned int index = ff_index(address, level);
	u64 old;

	/* A larger leaf maps it already, and the CPU has not changed it. */
	if (!table)
		table = ff_pgtable_part(pgt, address, entry, spares);
	if (!table)
		return true;

	old = ff_entry(table, index);
	if (old & FF_PTE_VALID) {
		if (!(old & FF_PTE_LEAF))
			return false;
		if (WARN_ON_ONCE((old ^ entry) & FF_PTE_ADDRESS))
			return true;
		entry |= old;
	} else {
		table->used++;
		ff_count(pgt->counters, FF_COUNT_PAGES_MAPPED,
			 FF_LEVEL_PAGES(level));
		if (level == 1)
			ff_count(pgt->counters, FF_COUNT_LEAVES_2M, 1);
		if (level == 2)
			ff_count(pgt->counters, FF_COUNT_LEAVES_1G, 1);
	}
	ff_entry_set(table, index, entry);
	return true;
}

/* Takes an empty table out of the way of walks that begin from now on. */
static void ff_table_unlink(struct ff_pgtable *pgt, struct ff_table *table,
			    struct ff_gather *gather)
{
	struct ff_table *parent = table->parent;

	ff_table_forget(pgt, table, &gather->tables);
	ff_entry_set(parent, ff_index(table->start, parent->level), 0);
	if (!--parent->used && parent->parent)
		ff_table_unlink(pgt, parent, gather);
}

/*
 * Of a leaf that a range covers only in part the rest stays mapped, if there is
 * memory to write it down: this runs in reclaim, and must not wait for any.
 */
static bool ff_leaf_keep(struct ff_pgtable *pgt, struct ff_table *table,
			 unsigned int index)
{
	struct ff_table *small;

	if (table->level != 1)
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
	unsigned long last = table->start + FF_LEVEL_SIZE(level + 1) - 1;
	unsigned int index = ff_index(max(start, table->start), level);
	unsigned int stop = ff_index(min(end - 1, last), level);
	unsigned long address;
	u64 entry;

	for (; index <= stop; index++) {
		entry = ff_entry(table, index);
		if (!(entry & FF_PTE_LEAF))
			continue;
		address = table->start + index * FF_LEVEL_SIZE(level);
		if ((address < start || address + FF_LEVEL_SIZE(level) > end) &&
		    ff_leaf_keep(pgt, table, index))
			continue;
		ff_entry_set(table, index, 0);
		table->used--;

		gather->start = min(gather->start, address);
		gather->end = max(gather->end, address + FF_LEVEL_SIZE(level));
		gather->pages += FF_LEVEL_PAGES(level);
		if (entry & FF_PTE_WRITE)
			gather->writable(gather->context, entry, level);
	}
}

/**
 * ff_gather_init() - Prepare for ff_pgtable_zap()
 * @gather: to be filled by it
 * @writable: called for each leaf taken out that the device could write
 * @context: for @writable
 */
void ff_gather_init(struct ff_gather *gather,
		    void (*writable)(void *context, u64 entry,
				     unsigned int level),
		    void *context)
{
	gather->start = ULONG_MAX;
	gather->end = 0;
	gather->pages = 0;
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
 * is no memory for those it goes as a whole, and faults in again. Does not sleep.
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
				ff_table_unlink(pgt, table, gather);
		}
	}
	ff_count(pgt->counters, FF_COUNT_PAGES_ZAPPED, gather->pages - before);
}
