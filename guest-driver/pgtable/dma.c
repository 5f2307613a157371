// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames as DMA addresses: the one place that knows how the device reaches a
 * frame of a process.
 *
 * As a rule bus addresses are physical addresses, and there is nothing to undo.
 * Behind an IOMMU (or wherever else dma_need_unmap() says so, as it does with
 * CONFIG_DMA_API_DEBUG) each leaf is a DMA mapping, which must not
 * be undone while the device can use it, and must be before mm lets go of the
 * frame. So an entry there is first valid, then stale, then empty. A zap makes
 * it stale: not valid any more, but its address is kept. Once the flush for it
 * has passed, ff_dma_reap() unmaps what is stale and empties it.
 *
 * Each undoing waits for the IOMMU to forget what it has cached, so it is done for
 * many leaves at once: a range of addresses has DMA addresses in a row, &struct
 * ff_dma_space, and neighbours that are stale are undone together. What lies
 * between two such runs costs one wait more.
 *
 * A mapping is undone in the size in which it was made. So leaves that are
 * mappings are as large as the CPU's, and are neither joined nor split: of one
 * that is invalidated in part all goes, and the rest faults in again.
 *
 * A frame of device memory is no DMA address, but an offset there. HMM hands out those
 * of the device's own (&struct hmm_range.dev_private_owner); what is in the memory of
 * another is brought back first.
 */
#include <linux/bug.h>
#include <linux/dma-mapping.h>
#include <linux/memremap.h>
#include <linux/minmax.h>

#include "base/counters.h"
#include "pgtable/dma.h"
#include "pgtable/pgtable.h"

/* The process uses the memory at the same time: no bounce buffers. */
#define FF_DMA_ATTRS	DMA_ATTR_REQUIRE_COHERENT

/* Physical addresses whatever the IOMMU, to show that tests notice. */
bool ff_dma_bypass;

/**
 * struct ff_dma_run - Neighbours that are undone together
 * @pgt: page table
 * @space: where they are
 * @start: first address
 * @end: end; equal to @start if there is none
 */
struct ff_dma_run {
	struct ff_pgtable *pgt;
	struct ff_dma_space *space;
	unsigned long start;
	unsigned long end;
};

static void ff_dma_run_undo(struct ff_dma_run *run)
{
	if (run->start == run->end)
		return;
	dma_iova_unlink(run->pgt->dev, &run->space->iova,
			run->start - run->space->start, run->end - run->start,
			DMA_BIDIRECTIONAL, FF_DMA_ATTRS);
	ff_count(run->pgt->counters, FF_COUNT_DMA_UNMAPS, 1);
	run->start = run->end;
}

/* Undoes a mapping, or puts it to its neighbours for ff_dma_run_undo(). */
static void ff_dma_undo(struct ff_dma_run *run, unsigned long address,
			dma_addr_t dma, size_t size)
{
	struct ff_dma_space *space = run->space;
	struct ff_pgtable *pgt = run->pgt;

	ff_count(pgt->counters, FF_COUNT_DMA_MAPPINGS, -1);
	if (!dma_use_iova(&space->iova) ||
	    dma != space->iova.addr + (address - space->start)) {
		dma_unmap_phys(pgt->dev, dma, size, DMA_BIDIRECTIONAL,
			       FF_DMA_ATTRS);
		ff_count(pgt->counters, FF_COUNT_DMA_UNMAPS, 1);
		return;
	}
	if (address != run->end) {
		ff_dma_run_undo(run);
		run->start = address;
	}
	run->end = address + size;
}

/* Returns a DMA address, or DMA_MAPPING_ERROR. */
static dma_addr_t ff_dma_make(struct ff_pgtable *pgt,
			      struct ff_dma_space *space,
			      unsigned long address, phys_addr_t phys,
			      size_t size)
{
	unsigned long offset = address - space->start;

	if (!pgt->translated ||
	    (!dma_use_iova(&space->iova) &&
	     !dma_iova_try_alloc(pgt->dev, &space->iova, 0, space->size)))
		return dma_map_phys(pgt->dev, phys, size, DMA_BIDIRECTIONAL,
				    FF_DMA_ATTRS);
	if (dma_iova_link(pgt->dev, &space->iova, phys, offset, size,
			  DMA_BIDIRECTIONAL, FF_DMA_ATTRS))
		return DMA_MAPPING_ERROR;
	if (dma_iova_sync(pgt->dev, &space->iova, offset, size)) {
		dma_iova_unlink(pgt->dev, &space->iova, offset, size,
				DMA_BIDIRECTIONAL, FF_DMA_ATTRS);
		return DMA_MAPPING_ERROR;
	}
	return space->iova.addr + offset;
}

/* Gives back the DMA addresses of a range in which nothing is mapped any more. */
void ff_dma_space_free(struct ff_pgtable *pgt, struct ff_dma_space *space)
{
	if (dma_use_iova(&space->iova))
		dma_iova_free(pgt->dev, &space->iova);
	space->iova = (struct dma_iova_state) {};
}

/* Whether DMA addresses are mappings to be undone. */
bool ff_dma_is_translated(struct device *dev)
{
	return dma_need_unmap(dev) && !ff_dma_bypass;
}

/* Whether smaller leaves are where one of @level would go. */
static bool ff_dma_is_divided(struct ff_pgtable *pgt, unsigned long address,
			      unsigned int level)
{
	struct ff_table *table = ff_table_find(pgt, address, level);
	u64 entry;

	if (!pgt->translated || !table)
		return false;
	entry = ff_entry(table, ff_index(address, level));
	return entry & FF_PTE_VALID && !(entry & FF_PTE_LEAF);
}

/**
 * ff_dma_map() - Enter a leaf for a frame
 * @pgt: page table
 * @space: of addresses that the whole leaf lies in
 * @address: aligned to the size of the leaf
 * @level: 0, 1 or 2 for 4 KiB, 2 MiB or 1 GiB
 * @frame: first frame
 * @flags: of the leaf
 * @spares: at least FF_PGTABLE_SPARES tables
 *
 * If it is mapped already, permission is added to it.
 *
 * Return: as ff_pgtable_map(); -EPERM for memory of another PCI device, which
 * dma_map_phys() would take for RAM; -ENOSPC if DMA addresses or the memory for them
 * are used up, or if the device could not reach the frame without a bounce
 * buffer; -EIO if bus addresses are neither physical addresses nor mappings, or
 * as ff_pgtable_map().
 */
int ff_dma_map(struct ff_pgtable *pgt, struct ff_dma_space *space,
	       unsigned long address, unsigned int level, unsigned long frame,
	       u64 flags, struct list_head *spares)
{
	struct ff_dma_run run = { .pgt = pgt, .space = space };
	struct ff_leaf old = {}, leaf = { .frame = frame };
	size_t size = FF_LEVEL_SIZE(level);
	dma_addr_t dma;
	int ret;

	if (is_pci_p2pdma_page(pfn_to_page(frame)))
		return -EPERM;
	if (is_device_private_page(pfn_to_page(frame))) {
		leaf.entry = PFN_PHYS(frame - pgt->vram) | FF_PTE_DEVICE | flags;
		return ff_pgtable_map(pgt, address, level, leaf, spares);
	}
	if (ff_dma_bypass) {
		leaf.entry = PFN_PHYS(frame) | flags;
		return ff_pgtable_map(pgt, address, level, leaf, spares);
	}
	if (pgt->translated)
		old = ff_pgtable_lookup(pgt, address);
	if (old.entry & FF_PTE_MAPPED) {
		leaf.entry = old.entry | flags;
		return ff_pgtable_map(pgt, address, level, leaf, spares);
	}

	if (ff_dma_is_divided(pgt, address, level))
		return -EEXIST;
	dma = ff_dma_make(pgt, space, address, PFN_PHYS(frame), size);
	if (dma_mapping_error(pgt->dev, dma))
		return -ENOSPC;
	leaf.entry = dma | flags;
	if (!pgt->translated) {
		/* There is nothing to undo. */
		if (WARN_ON_ONCE(dma != PFN_PHYS(frame)))
			return -EIO;
		return ff_pgtable_map(pgt, address, level, leaf, spares);
	}

	ff_count(pgt->counters, FF_COUNT_DMA_MAPPINGS, 1);
	leaf.entry |= FF_PTE_MAPPED;
	ret = -EEXIST;
	if (IS_ALIGNED(dma, size))
		ret = ff_pgtable_map(pgt, address, level, leaf, spares);
	if (ret) {
		ff_dma_undo(&run, address, dma, size);
		ff_dma_run_undo(&run);
	}
	return ret;
}

static void ff_dma_reap_table(struct ff_dma_run *run, struct ff_table *table,
			      unsigned long start, unsigned long end)
{
	size_t size = FF_LEVEL_SIZE(table->level);
	unsigned int index = ff_table_from(table, start);
	unsigned int last = ff_table_to(table, end);
	u64 entry;

	for (; index <= last; index++) {
		entry = ff_entry(table, index);
		if (!ff_entry_is_stale(entry))
			continue;
		ff_dma_undo(run, table->start + index * size,
			    entry & FF_PTE_ADDRESS, size);
		ff_entry_set(table, index, 0);
		table->used--;
		run->pgt->stale--;
	}
}

/**
 * ff_dma_reap() - Undo the DMA mappings of what was taken out
 * @pgt: page table
 * @space: of addresses that the range lies in
 * @start: first address
 * @end: end
 * @tables: tables that became empty are added to it, to be freed after a flush
 *
 * To be called when the flush that followed the zap has passed. Does not sleep.
 */
void ff_dma_reap(struct ff_pgtable *pgt, struct ff_dma_space *space,
		 unsigned long start, unsigned long end,
		 struct list_head *tables)
{
	struct ff_dma_run run = { .pgt = pgt, .space = space };
	struct ff_table *table, *next;
	int level;

	for (level = FF_PT_LEVELS - 2; level >= 0 && pgt->stale; level--) {
		table = ff_table_first(pgt, start, level);
		for (; table && table->start < end; table = next) {
			next = ff_table_next(table);
			ff_dma_reap_table(&run, table, start, end);
			if (!table->used)
				ff_table_unlink(pgt, table, tables);
		}
	}
	ff_dma_run_undo(&run);
}
