/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory of the driver's own in the address space of a context. */
#ifndef FF_RESIDENT_H
#define FF_RESIDENT_H

#include <linux/bits.h>
#include <linux/types.h>

struct ff_ctx;

/* Where it is for the device: above all that a process can have. */
#define FF_RESIDENT_START	BIT(47)

/**
 * struct ff_resident - Memory that is always present for the device
 * @memory: for the driver
 * @dma: its DMA address
 * @size: bytes, a multiple of the page size
 */
struct ff_resident {
	void *memory;
	dma_addr_t dma;
	size_t size;
};

bool ff_resident_possible(void);
int ff_resident_map(struct ff_ctx *ctx, size_t size);
void ff_resident_zap(struct ff_ctx *ctx, u64 start, u64 size);
void ff_resident_unmap(struct ff_ctx *ctx);

#endif /* FF_RESIDENT_H */
