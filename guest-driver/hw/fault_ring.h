/* SPDX-License-Identifier: GPL-2.0-only */
/* The fault queue, by which the device tells the driver. */
#ifndef FF_FAULT_RING_H
#define FF_FAULT_RING_H

#include <linux/types.h>

#include "base/abi.h"

struct ff_device;

/**
 * struct ff_fault_ring - The fault queue of a device
 * @ring: header shared with the device
 * @entries: entries shared with the device
 * @dma: DMA address of @ring
 * @size: number of @entries
 * @head: next entry to read
 * @overflows: how often the device had found it full when it was last read
 */
struct ff_fault_ring {
	struct ff_ring_header *ring;
	struct ff_fault *entries;
	dma_addr_t dma;
	u32 size;
	u32 head;
	u32 overflows;
};

int ff_faults_init(struct ff_device *ff);
void ff_faults_restart(struct ff_device *ff);
void ff_faults_drain(struct ff_device *ff);

#endif /* FF_FAULT_RING_H */
