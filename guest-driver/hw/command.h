/* SPDX-License-Identifier: GPL-2.0-only */
/* The command queue, by which the driver tells the device. */
#ifndef FF_COMMAND_H
#define FF_COMMAND_H

#include <linux/io.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "base/abi.h"

struct ff_device;

/**
 * struct ff_commands - The command queue of a device
 * @lock: orders posters, and the restart; nothing is taken inside but, once, what
 *	pci_clear_master() takes
 * @ring: header shared with the device
 * @entries: entries shared with the device
 * @done: where WAIT commands store their value
 * @ring_dma: DMA address of @ring
 * @done_dma: DMA address of @done
 * @doorbell: BAR 4 page that makes the device look
 * @tail: next entry to write
 * @fence: value of the last WAIT posted
 * @wait: woken when a WAIT with interrupt has been carried out
 * @reserved: bit 0 says that somebody who may not sleep has the last entries
 * @gone: the device has stopped: it reaches no memory and answers no command,
 *	so every fence counts as passed, until it is started again
 */
struct ff_commands {
	spinlock_t lock; /* posters */
	struct ff_ring_header *ring;
	struct ff_command *entries;
	__le64 *done;
	dma_addr_t ring_dma;
	dma_addr_t done_dma;
	void __iomem *doorbell;
	u32 tail;
	u64 fence;
	wait_queue_head_t wait;
	unsigned long reserved;
	bool gone;
};

int ff_commands_init(struct ff_device *ff);
void ff_commands_gone(struct ff_device *ff);
void ff_commands_restart(struct ff_device *ff);

u64 ff_command_post(struct ff_device *ff, const struct ff_command *command,
		    bool may_sleep);
u64 ff_command_submit(struct ff_device *ff, const struct ff_command *command,
		      bool may_sleep);
bool ff_command_reserve(struct ff_device *ff);
void ff_command_unreserve(struct ff_device *ff);
void ff_command_ring(struct ff_device *ff);

unsigned long ff_command_patience(void);
void ff_command_look(struct ff_device *ff);
void ff_command_look_until(struct ff_device *ff, unsigned long deadline);
bool ff_command_passed(struct ff_device *ff, u64 fence);
void ff_command_wait(struct ff_device *ff, u64 fence);
bool ff_command_poll(struct ff_device *ff, u64 fence);
void ff_command_run(struct ff_device *ff, const struct ff_command *command);

#endif /* FF_COMMAND_H */
