// SPDX-License-Identifier: GPL-2.0-only
/*
 * Large leaves: 2 MiB ones made of small ones, and those and larger ones taken
 * apart.
 *
 * The CPU need not map by one entry what lies together: large folios that are
 * mapped page by page (mTHP), or pages that happen to be neighbours. A table in
 * which every page follows the one before is the same as one leaf, takes 4 KiB
 * less and one walk instead of 512. Both say the same, so the device may use
 * either at any time; only the table's memory has to wait for a flush.
 */
#include "base/counters.h"
#include "pgtable/pgtable.h"

/*
 * Maps by leaves of the next size what one leaf in a table of level 1 or 2 maps. @small
 * is as ff_table_alloc() made it.
 */
void ff_leaf_split(struct ff_pgtable *pgt, struct ff_table *table,
		   unsigned int index, struct ff_table *small)
{
	struct ff_leaf leaf = ff_leaf_get(table, index);
	unsigned int i;

	ff_table_link(pgt, small, table,
		      table->start + index * FF_LEVEL_SIZE(table->level));
	for (i = 0; i < FF_PT_ENTRIES; i++)
		ff_leaf_set(small, i,
			    ff_leaf_part(leaf,
					 i * FF_LEVEL_PAGES(small->level)));
	small->used = FF_PT_ENTRIES;
	/* Its entries, then the way to them. */
	dma_wmb();
	ff_entry_set(table, index, small->dma | FF_PTE_VALID);
	ff_count(pgt->counters, FF_COUNT_LEAVES_SPLIT, 1);
}

/*
 * Maps by one leaf what a whole table of small ones maps, and returns whether that was
 * possible. The table goes to @tables, to be freed after a flush.
 */
bool ff_leaf_join(struct ff_pgtable *pgt, unsigned long address,
		  struct list_head *tables)
{
	struct ff_table *table = ff_table_find(pgt, address, 0);
	struct ff_leaf first, next, wanted;
	unsigned int i;

	if (!table || table->used != FF_PT_ENTRIES)
		return false;
	first = ff_leaf_get(table, 0);
	if (!IS_ALIGNED(first.entry & FF_PTE_ADDRESS, FF_LEVEL_SIZE(1)))
		return false;
	for (i = 1; i < FF_PT_ENTRIES; i++) {
		next = ff_leaf_get(table, i);
		wanted = ff_leaf_part(first, i);
		if (next.entry != wanted.entry || next.frame != wanted.frame)
			return false;
	}

	ff_leaf_set(table->parent, ff_index(address, 1), first);
	ff_table_forget(pgt, table, tables);
	ff_count(pgt->counters, FF_COUNT_LEAVES_2M, 1);
	ff_count(pgt->counters, FF_COUNT_LEAVES_JOINED, 1);
	return true;
}
