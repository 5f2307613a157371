/* SPDX-License-Identifier: GPL-2.0-only */
/* The device's page table: build and zap. Knows nothing of mm. */
#ifndef FF_PGTABLE_H
#define FF_PGTABLE_H

#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>

#include "ff_hw.h"

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
 * struct ff_table - A page of the page table
 * @node: in &struct ff_pgtable.tables of its level
 * @link: in a list of spare or of unlinked tables
 * @parent: table whose entry points here; NULL for the root
 * @entries: what the device reads
 * @dma: where the device finds it
 * @start: first virtual address it covers
 * @level: 0 maps 4 KiB pages
 * @used: valid entries
 */
struct ff_table {
	struct rb_node node;
	struct list_head link;
	struct ff_table *parent;
	__le64 *entries;
	dma_addr_t dma;
	unsigned long start;
	unsigned int level;
	unsigned int used;
};

/**
 * struct ff_pgtable - A page table
 * @dev: whose DMA addresses it holds
 * @counters: of the device
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
	struct ff_table *root;
	struct rb_root tables[FF_PT_LEVELS - 1];
	struct ff_table *recent[FF_PT_LEVELS - 1];
};

/**
 * struct ff_gather - What a zap took out, as mmu_gather is for the CPU
 * @start: first address taken out; with whole leaves it can lie before what
 *	was asked for
 * @end: end of the last
 * @pages: 4 KiB pages taken out; 0 means that nothing need be flushed
 * @tables: tables that became empty, to be freed after the flush
 * @writable: called for each leaf that the device could write
 * @context: for @writable
 */
struct ff_gather {
	unsigned long start;
	unsigned long end;
	unsigned long pages;
	struct list_head tables;
	void (*writable)(void *context, u64 entry, unsigned int level);
	void *context;
};

int ff_pgtable_init(struct ff_pgtable *pgt, struct device *dev,
		    struct ff_counters *counters);
void ff_pgtable_fini(struct ff_pgtable *pgt);

int ff_tables_fill(struct ff_pgtable *pgt, struct list_head *spares);
void ff_tables_free(struct ff_pgtable *pgt, struct list_head *tables);

u64 ff_pgtable_lookup(struct ff_pgtable *pgt, unsigned long address);
bool ff_pgtable_map(struct ff_pgtable *pgt, unsigned long address,
		    unsigned int level, u64 entry, struct list_head *spares);

void ff_gather_init(struct ff_gather *gather,
		    void (*writable)(void *context, u64 entry,
				     unsigned int level),
		    void *context);
void ff_pgtable_zap(struct ff_pgtable *pgt, unsigned long start,
		    unsigned long end, struct ff_gather *gather);

#endif /* FF_PGTABLE_H */
