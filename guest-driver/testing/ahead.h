/* SPDX-License-Identifier: GPL-2.0-only */
/* What a queue of the driver's own is about to want. */
#ifndef FF_AHEAD_H
#define FF_AHEAD_H

#include <linux/types.h>

struct ff_ctx;
struct ff_queue;

/**
 * struct ff_ahead - The user memory that commands to come will go through
 * @start: first address, page aligned
 * @end: end; equal to @start when the queue works on nothing
 * @write: for writing
 * @error: why some of it could not be had when it was last wanted, or 0
 * @rounds: fault groups answered
 *
 * All under &struct ff_device.queue_lock.
 */
struct ff_ahead {
	unsigned long start;
	unsigned long end;
	bool write;
	int error;
	u64 rounds;
};

void ff_ahead_begin(struct ff_queue *queue, unsigned long start,
		    unsigned long end, bool write);
struct ff_ahead ff_ahead_end(struct ff_queue *queue);
void ff_ahead_serve(struct ff_ctx *ctx);

#endif /* FF_AHEAD_H */
