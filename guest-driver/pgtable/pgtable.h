/* SPDX-License-Identifier: GPL-2.0-only */
/* The device's page table: build and zap. Knows nothing of mm. */
#ifndef FF_PGTABLE_H
#define FF_PGTABLE_H

#include "pgtable/table.h"

/**
 * struct ff_gather - What a zap took out, as mmu_gather is for the CPU
 * @start: first address taken out; with whole leaves it can lie before what
 *	was asked for
 * @end: end of the last
 * @pages: 4 KiB pages taken out; 0 means that nothing need be flushed
 * @tables: tables that became empty, to be freed after the flush
 * @keep: bits of entries that stay: what has one of them is not taken out
 * @writable: called for each leaf that the device could write, with its frames;
 *	NULL if nobody need know
 * @context: for @writable
 */
struct ff_gather {
	unsigned long start;
	unsigned long end;
	unsigned long pages;
	u64 keep;
	struct list_head tables;
	void (*writable)(void *context, unsigned long frame,
			 unsigned long pages);
	void *context;
};

int ff_pgtable_init(struct ff_pgtable *pgt, struct device *dev,
		    struct ff_counters *counters, bool translated);
void ff_pgtable_fini(struct ff_pgtable *pgt);

struct ff_leaf ff_pgtable_lookup(struct ff_pgtable *pgt, unsigned long address);
unsigned int ff_pgtable_level(struct ff_pgtable *pgt, unsigned long address);
int ff_pgtable_map(struct ff_pgtable *pgt, unsigned long address,
		   unsigned int level, struct ff_leaf leaf,
		   struct list_head *spares);

void ff_leaf_split(struct ff_pgtable *pgt, struct ff_table *table,
		   unsigned int index, struct ff_table *small);
bool ff_leaf_join(struct ff_pgtable *pgt, unsigned long address,
		  struct list_head *tables);

void ff_gather_init(struct ff_gather *gather,
		    void (*writable)(void *context, unsigned long frame,
				     unsigned long pages),
		    void *context);
void ff_pgtable_zap(struct ff_pgtable *pgt, unsigned long start,
		    unsigned long end, struct ff_gather *gather);

#endif /* FF_PGTABLE_H */
