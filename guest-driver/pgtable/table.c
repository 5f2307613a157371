// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables of a page table, and where the CPU finds them.
 */
#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "base/counters.h"
#include "pgtable/table.h"

/* Entries, and as much room for frames. */
#define FF_TABLE_PAGES	2

struct ff_table *ff_table_alloc(struct ff_pgtable *pgt, gfp_t gfp)
{
	struct ff_table *table __free(kfree) = kzalloc_obj(*table, gfp);

	if (!table)
		return NULL;
	table->entries = dma_alloc_coherent(pgt->dev, PAGE_SIZE, &table->dma,
					    gfp);
	if (!table->entries)
		return NULL;
	table->frames = kcalloc(FF_PT_ENTRIES, sizeof(*table->frames), gfp);
	if (!table->frames) {
		dma_free_coherent(pgt->dev, PAGE_SIZE, table->entries,
				  table->dma);
		return NULL;
	}
	ff_count(pgt->counters, FF_COUNT_TABLE_PAGES, FF_TABLE_PAGES);
	return_ptr(table);
}

void ff_table_free(struct ff_pgtable *pgt, struct ff_table *table)
{
	dma_free_coherent(pgt->dev, PAGE_SIZE, table->entries, table->dma);
	kfree(table->frames);
	kfree(table);
	ff_count(pgt->counters, FF_COUNT_TABLE_PAGES, -FF_TABLE_PAGES);
}

/* Frees spare or unlinked tables; the list is empty afterwards. */
void ff_tables_free(struct ff_pgtable *pgt, struct list_head *tables)
{
	struct ff_table *table, *next;

	list_for_each_entry_safe(table, next, tables, link)
		ff_table_free(pgt, table);
	INIT_LIST_HEAD(tables);
}

/* The first table of @level that ends after @address. */
struct ff_table *ff_table_first(struct ff_pgtable *pgt, unsigned long address,
				unsigned int level)
{
	struct rb_node *node = pgt->tables[level].rb_node;
	struct ff_table *table, *first = NULL;

	while (node) {
		table = rb_entry(node, struct ff_table, node);
		if (table->start + FF_LEVEL_SIZE(level + 1) > address) {
			first = table;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return first;
}

struct ff_table *ff_table_next(struct ff_table *table)
{
	return rb_entry_safe(rb_next(&table->node), struct ff_table, node);
}

/* The table of @level that covers @address, or NULL. */
struct ff_table *ff_table_find(struct ff_pgtable *pgt, unsigned long address,
			       unsigned int level)
{
	unsigned long start = ALIGN_DOWN(address, FF_LEVEL_SIZE(level + 1));
	struct ff_table *table;

	if (level == FF_PT_LEVELS - 1)
		return pgt->root;
	table = pgt->recent[level];
	if (table && table->start == start)
		return table;
	table = ff_table_first(pgt, address, level);
	if (!table || table->start != start)
		return NULL;
	pgt->recent[level] = table;
	return table;
}

static bool ff_table_less(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct ff_table, node)->start <
	       rb_entry(b, struct ff_table, node)->start;
}

/* Puts a table, zeroed or filled, where the CPU finds it; the device does not know it yet. */
void ff_table_link(struct ff_pgtable *pgt, struct ff_table *table,
		   struct ff_table *parent, unsigned long address)
{
	table->parent = parent;
	table->level = parent->level - 1;
	table->start = ALIGN_DOWN(address, FF_LEVEL_SIZE(parent->level));
	rb_add(&table->node, &pgt->tables[table->level], ff_table_less);
}

/*
 * Takes a table, which the device may still walk, from where the CPU finds it. It goes
 * to @tables, to be freed after a flush.
 */
void ff_table_forget(struct ff_pgtable *pgt, struct ff_table *table,
		     struct list_head *tables)
{
	rb_erase(&table->node, &pgt->tables[table->level]);
	if (pgt->recent[table->level] == table)
		pgt->recent[table->level] = NULL;
	list_add(&table->link, tables);
}

/*
 * Takes an empty table out of the way of walks; those that have begun may still be in
 * it. It goes to @tables, and with it those above that became empty.
 */
void ff_table_unlink(struct ff_pgtable *pgt, struct ff_table *table,
		     struct list_head *tables)
{
	struct ff_table *parent = table->parent;

	ff_table_forget(pgt, table, tables);
	ff_entry_set(parent, ff_index(table->start, parent->level), 0);
	if (!--parent->used && parent->parent)
		ff_table_unlink(pgt, parent, tables);
}
