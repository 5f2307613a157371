/* SPDX-License-Identifier: GPL-2.0-only */
/* The copy queue, by which the driver has memory copied. */
#ifndef FF_COPY_H
#define FF_COPY_H

#include <linux/io.h>
#include <linux/mutex.h>

#include "base/abi.h"

struct ff_device;

/* DMA addresses that the copy queue can name have so many bits. */
#define FF_COPY_DMA_BITS	46

/* Where device memory begins for it, in addresses of the copy queue. */
#define FF_COPY_DEVICE		BIT_ULL(FF_VA_BITS - 1)

/**
 * struct ff_copies - The copy queue of a device with memory of its own
 * @lock: held from ff_copy_begin() to ff_copy_end(), so inside of all that mm holds
 *	while a page moves; nothing is taken inside but what waiting for the device takes
 * @queue: its number; user-mode queues have those below
 * @doorbell: BAR 4 page that makes the device look
 * @ring: header shared with the device
 * @entries: entries shared with the device
 * @done: how each entry ended
 * @ring_dma: DMA address of @ring
 * @done_dma: DMA address of @done
 * @root: entry of the context table
 * @tail: next entry to write
 * @fence: of the last entry
 * @pending: entries written since the device was last waited for
 * @bytes: what these copy
 * @enabled: the device knows the queue; it forgets it when it stops
 * @faulted: the device could not reach what it was to copy
 * @failed: so some copy since ff_copy_begin() was not made
 */
struct ff_copies {
	struct mutex lock; /* all of it */
	unsigned int queue;
	void __iomem *doorbell;
	struct ff_ring_header *ring;
	struct ff_descriptor *entries;
	struct ff_completion *done;
	dma_addr_t ring_dma;
	dma_addr_t done_dma;
	u64 root;
	u32 tail;
	u64 fence;
	unsigned int pending;
	u64 bytes;
	bool enabled;
	bool faulted;
	bool failed;
};

int ff_copies_init(struct ff_device *ff);
void ff_copies_restart(struct ff_device *ff);

void ff_copy_begin(struct ff_device *ff);
void ff_copy_add(struct ff_device *ff, u64 destination, u64 source, u64 length);
void ff_copy_add_zeroes(struct ff_device *ff, u64 destination, u64 length);
int ff_copy_end(struct ff_device *ff);

#endif /* FF_COPY_H */
