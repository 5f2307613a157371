/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames as DMA addresses. */
#ifndef FF_DMA_H
#define FF_DMA_H

#include <linux/pfn.h>

#include "pgtable/table.h"

/*
 * Software bit of an entry: its address is a DMA mapping of the mirror's own,
 * to be undone. Without FF_PTE_VALID the entry is stale; see pgtable/dma.c.
 */
#define FF_PTE_MAPPED		BIT_ULL(9)
static_assert(FF_PTE_MAPPED & FF_PTE_SOFTWARE, "the device ignores it");

static inline bool ff_entry_is_stale(u64 entry)
{
	return (entry & (FF_PTE_MAPPED | FF_PTE_VALID)) == FF_PTE_MAPPED;
}

/* The frame that a leaf of the mirror maps. */
static inline unsigned long ff_dma_frame(const struct ff_table *table,
					 unsigned int index, u64 entry)
{
	if (entry & FF_PTE_MAPPED)
		return table->frames[index];
	return PHYS_PFN(entry & FF_PTE_ADDRESS);
}

extern bool ff_dma_bypass;

bool ff_dma_is_translated(struct device *dev);
int ff_dma_map(struct ff_pgtable *pgt, unsigned long address,
	       unsigned int level, unsigned long frame, u64 flags,
	       struct list_head *spares);
void ff_dma_reap(struct ff_pgtable *pgt, unsigned long start,
		 unsigned long end, struct list_head *tables);

#endif /* FF_DMA_H */
