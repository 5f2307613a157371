// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a queue of the driver's own is about to want.
 *
 * A program's commands are its own business, and the device tells of their
 * needs by far faults, a window at a time. Of a command that the driver has
 * submitted itself it knows all. When the first page is missing, the rest of
 * the range is made present with it, so one round of faults does for a command
 * of any length.
 */
#include <linux/minmax.h>

#include "file/ctx.h"
#include "file/prefetch.h"
#include "file/queue.h"
#include "hw/device.h"
#include "mirror/populate.h"
#include "testing/ahead.h"

/**
 * ff_ahead_begin() - Announce a range
 * @queue: queue that is idle
 * @start: first address, page aligned
 * @end: end, page aligned
 * @write: for writing
 */
void ff_ahead_begin(struct ff_queue *queue, unsigned long start,
		    unsigned long end, bool write)
{
	struct ff_device *ff = queue->ctx->ff;

	spin_lock(&ff->queue_lock);
	queue->ahead = (struct ff_ahead) {
		.start = start,
		.end = end,
		.write = write,
	};
	spin_unlock(&ff->queue_lock);
}

/**
 * ff_ahead_end() - Take the announcement back
 * @queue: queue that has done with it
 *
 * Return: as it was, with what has come of it.
 */
struct ff_ahead ff_ahead_end(struct ff_queue *queue)
{
	struct ff_device *ff = queue->ctx->ff;
	struct ff_ahead ahead;

	spin_lock(&ff->queue_lock);
	ahead = queue->ahead;
	queue->ahead = (struct ff_ahead) {};
	spin_unlock(&ff->queue_lock);
	return ahead;
}

static void ff_ahead_serve_queue(struct ff_ctx *ctx, struct ff_queue *queue)
{
	struct ff_span span = {
		.request = HMM_PFN_REQ_FAULT,
		.prefetch = true,
	};
	struct ff_device *ff = ctx->ff;
	struct ff_ahead ahead;
	unsigned long demand;
	int ret;

	spin_lock(&ff->queue_lock);
	ahead = queue->ahead;
	demand = queue->demand & PAGE_MASK;
	spin_unlock(&ff->queue_lock);
	if (demand < ahead.start || demand >= ahead.end)
		return;

	span.start = demand;
	if (ahead.write)
		span.request |= HMM_PFN_REQ_WRITE;
	ret = ff_prefetch_range(ctx, &span, ahead.end, ctx->scratch);

	spin_lock(&ff->queue_lock);
	queue->ahead.error = ret;
	spin_unlock(&ff->queue_lock);
}

/**
 * ff_ahead_serve() - Make present what was announced, as far as can be
 * @ctx: context whose fault groups are being served; the caller holds a user
 *	of the mm
 *
 * What cannot be had is no failure here: the page that is demanded is served,
 * or refused, with its group.
 */
void ff_ahead_serve(struct ff_ctx *ctx)
{
	unsigned int i;

	for (i = 0; i < ctx->nr_groups; i++)
		ff_ahead_serve_queue(ctx, ctx->groups[i]);
}
