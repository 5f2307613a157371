/* SPDX-License-Identifier: GPL-2.0-only */
/* The tables of a page table. */
#ifndef FF_TABLE_H
#define FF_TABLE_H

#include <linux/compiler.h>
#include <linux/gfp_types.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/rbtree.h>
#include <linux/types.h>

#include "base/abi.h"

struct ff_counters;
struct device;

/* What one entry maps at a level: bits, bytes, 4 KiB pages. */
#define FF_LEVEL_SHIFT(level)	(PAGE_SHIFT + FF_PT_BITS * (level))
#define FF_LEVEL_SIZE(level)	BIT(FF_LEVEL_SHIFT(level))
#define FF_LEVEL_PAGES(level)	BIT(FF_PT_BITS * (level))

/* End of what a page table can map. */
#define FF_PGTABLE_END		BIT(FF_VA_BITS)

/* Tables that mapping within one table of level 0 can need. */
#define FF_PGTABLE_SPARES	(FF_PT_LEVELS - 1)

/**
 * struct ff_leaf - What a leaf maps
 * @entry: as the device reads it: where it finds the memory, and what it may do
 *	there; 0 if there is no leaf
 * @frame: first page frame; 0 of memory that is no process's to be marked dirty.
 *	Nothing else tells it: where the device finds a frame is for ff_dma_map().
 */
struct ff_leaf {
	u64 entry;
	unsigned long frame;
};

/**
 * struct ff_table - A page of the page table
 * @node: in &struct ff_pgtable.tables of its level
 * @link: in a list of spare or of unlinked tables
 * @parent: table whose entry points here; NULL for the root
 * @entries: what the device reads
 * @dma: where the device finds it
 * @frames: first frame of what each leaf maps, by index
 * @start: first virtual address it covers
 * @level: 0 maps 4 KiB pages
 * @used: entries that are not 0
 */
struct ff_table {
	struct rb_node node;
	struct list_head link;
	struct ff_table *parent;
	__le64 *entries;
	dma_addr_t dma;
	unsigned long *frames;
	unsigned long start;
	unsigned int level;
	unsigned int used;
};

/**
 * struct ff_pgtable - A page table
 * @dev: whose DMA addresses it holds
 * @counters: of the device
 * @vram: frame that offset 0 of device memory would have
 * @translated: DMA addresses are mappings that have to be undone; see pgtable/dma.c
 * @stale: entries whose mapping is to be undone
 * @root: top-level table, always there
 * @tables: the other tables by address, a tree for each level: an entry holds
 *	a DMA address, which does not say where the CPU finds the table
 * @recent: last table found at each level
 *
 * The caller locks: one who changes excludes all others.
 */
struct ff_pgtable {
	struct device *dev;
	struct ff_counters *counters;
	unsigned long vram;
	bool translated;
	unsigned long stale;
	struct ff_table *root;
	struct rb_root tables[FF_PT_LEVELS - 1];
	struct ff_table *recent[FF_PT_LEVELS - 1];
};

static inline unsigned int ff_index(unsigned long address, unsigned int level)
{
	return address >> FF_LEVEL_SHIFT(level) & (FF_PT_ENTRIES - 1);
}

/* Index of the first entry of @table that has to do with a range. */
static inline unsigned int ff_table_from(const struct ff_table *table,
					 unsigned long start)
{
	return ff_index(max(start, table->start), table->level);
}

/* Index of the last one, if the range ends at @end. */
static inline unsigned int ff_table_to(const struct ff_table *table,
				       unsigned long end)
{
	unsigned long last = table->start + FF_LEVEL_SIZE(table->level + 1) - 1;

	return ff_index(min(end - 1, last), table->level);
}

static inline u64 ff_entry(const struct ff_table *table, unsigned int index)
{
	return le64_to_cpu(READ_ONCE(table->entries[index]));
}

static inline void ff_entry_set(struct ff_table *table, unsigned int index,
				u64 entry)
{
	WRITE_ONCE(table->entries[index], cpu_to_le64(entry));
}

static inline struct ff_leaf ff_leaf_get(const struct ff_table *table,
					 unsigned int index)
{
	return (struct ff_leaf) { ff_entry(table, index),
				  table->frames[index] };
}

static inline void ff_leaf_set(struct ff_table *table, unsigned int index,
			       struct ff_leaf leaf)
{
	table->frames[index] = leaf.frame;
	ff_entry_set(table, index, leaf.entry);
}

/* The part of a leaf that begins so many pages behind its start. */
static inline struct ff_leaf ff_leaf_part(struct ff_leaf leaf,
					  unsigned long pages)
{
	leaf.entry += pages << PAGE_SHIFT;
	leaf.frame += leaf.frame ? pages : 0;
	return leaf;
}

struct ff_table *ff_table_alloc(struct ff_pgtable *pgt, gfp_t gfp);
void ff_table_free(struct ff_pgtable *pgt, struct ff_table *table);
void ff_tables_free(struct ff_pgtable *pgt, struct list_head *tables);

struct ff_table *ff_table_first(struct ff_pgtable *pgt, unsigned long address,
				unsigned int level);
struct ff_table *ff_table_next(struct ff_table *table);
struct ff_table *ff_table_find(struct ff_pgtable *pgt, unsigned long address,
			       unsigned int level);
void ff_table_link(struct ff_pgtable *pgt, struct ff_table *table,
		   struct ff_table *parent, unsigned long address);
void ff_table_forget(struct ff_pgtable *pgt, struct ff_table *table,
		     struct list_head *tables);
void ff_table_unlink(struct ff_pgtable *pgt, struct ff_table *table,
		     struct list_head *tables);

#endif /* FF_TABLE_H */
