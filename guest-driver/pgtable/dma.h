/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames as DMA addresses. */
#ifndef FF_DMA_H
#define FF_DMA_H

#include <linux/dma-mapping.h>
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

/**
 * struct ff_dma_space - Where the leaves of a range of addresses are for the IOMMU
 * @start: first address
 * @size: bytes, a power of two
 * @iova: as many DMA addresses in a row, once there is a leaf; none if there were
 *	not as many, and each leaf is then mapped by itself
 */
struct ff_dma_space {
	unsigned long start;
	unsigned long size;
	struct dma_iova_state iova;
};

extern bool ff_dma_bypass;

bool ff_dma_is_translated(struct device *dev);
int ff_dma_map(struct ff_pgtable *pgt, struct ff_dma_space *space,
	       unsigned long address, unsigned int level, unsigned long frame, u64 flags,
	       struct list_head *spares);
void ff_dma_reap(struct ff_pgtable *pgt, struct ff_dma_space *space,
		 unsigned long start, unsigned long end,
		 struct list_head *tables);
void ff_dma_space_free(struct ff_pgtable *pgt, struct ff_dma_space *space);

#endif /* FF_DMA_H */
