// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a queue of the driver's own is about to want.
 *
 * A program's commands are its own business, and the device tells of their
 * needs by far faults, some pages at a time. Of a command that the driver has
 * submitted itself it knows all. When the first page is missing, the rest of
 * the range is made present with it, so one round of faults does for a command
 * of any length.
 */
#include <linux/minmax.h>

#include "file/ctx.h"
#include "hw/device.h"
#include "testing/testing.h"

void ff_announce_begin(struct ff_queue *queue, unsigned long start,
		       unsigned long end, bool write)
{
	struct ff_device *ff = queue->service->ff;

	guard(spinlock)(&ff->queue_lock);
	queue->announcement = (struct ff_announcement) {
		.start = start,
		.end = end,
		.write = write,
	};
}

/* Takes the announcement back, with what has come of it. */
struct ff_announcement ff_announce_end(struct ff_queue *queue)
{
	struct ff_device *ff = queue->service->ff;
	struct ff_announcement announced;

	guard(spinlock)(&ff->queue_lock);
	announced = queue->announcement;
	queue->announcement = (struct ff_announcement) {};
	return announced;
}

static void ff_announce_serve_queue(struct ff_service *service,
				    struct ff_queue *queue)
{
	struct ff_span span = {
		.request = HMM_PFN_REQ_FAULT,
		.prefetch = true,
		.ask = true,
	};
	struct ff_ctx *ctx = container_of(service, struct ff_ctx, service);
	struct ff_device *ff = service->ff;
	struct ff_announcement announced;
	unsigned long demand;
	int ret;

	scoped_guard(spinlock, &ff->queue_lock) {
		announced = queue->announcement;
		demand = queue->demand & PAGE_MASK;
	}
	if (demand < announced.start || demand >= announced.end)
		return;

	span.start = demand;
	if (announced.write)
		span.request |= HMM_PFN_REQ_WRITE;
	ret = ff_prefetch_range(ctx, &span, announced.end, service->scratch);
	scoped_guard(spinlock, &ff->queue_lock)
		queue->announcement.error = ret;
}

/*
 * Makes present what was announced, as far as can be. What cannot be had is no failure
 * here: the page that is demanded is served, or refused, with its group.
 */
void ff_announce_serve(struct ff_service *service)
{
	unsigned int i;

	for (i = 0; i < service->nr_groups; i++)
		ff_announce_serve_queue(service, service->groups[i]);
}
