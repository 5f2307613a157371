// SPDX-License-Identifier: GPL-2.0-only
/*
 * The queues of a device by number, and how long they live.
 */
#include <linux/slab.h>

#include "hw/device.h"
#include "service/service.h"

/* A queue without a number, with a reference for the caller, or NULL. */
struct ff_queue *ff_queue_alloc(struct ff_service *service)
{
	struct ff_queue *queue;

	queue = kzalloc_flex(*queue, requests, service->ff->lookahead,
			     GFP_KERNEL_ACCOUNT);
	if (!queue)
		return NULL;
	kref_init(&queue->ref);
	queue->service = service;
	queue->alive = true;
	INIT_LIST_HEAD(&queue->link);
	return queue;
}

static void ff_queue_free(struct kref *ref)
{
	kfree(container_of(ref, struct ff_queue, ref));
}

void ff_queue_put(struct ff_queue *queue)
{
	kref_put(&queue->ref, ff_queue_free);
}

/*
 * Gives a queue a free number, by which faults find it; the device then has a reference
 * to it. -ENOSPC if all are taken.
 */
int ff_queue_number(struct ff_queue *queue)
{
	struct ff_device *ff = queue->service->ff;
	unsigned int id;

	guard(spinlock)(&ff->queue_lock);
	for (id = 0; id < ff->nr_queues; id++) {
		if (ff->queues[id])
			continue;
		queue->id = id;
		ff->queues[id] = queue;
		kref_get(&queue->ref);
		return 0;
	}
	return -ENOSPC;
}

/* Takes back the number of a queue that is not alive; no fault finds it any more. */
void ff_queue_forget(struct ff_queue *queue)
{
	struct ff_device *ff = queue->service->ff;

	scoped_guard(spinlock, &ff->queue_lock) {
		ff->queues[queue->id] = NULL;
		list_del_init(&queue->link);
	}
	ff_queue_put(queue);
}

/* A reference to queue @id if @service serves it, or NULL. */
struct ff_queue *ff_queue_get(struct ff_service *service, u32 id)
{
	struct ff_device *ff = service->ff;
	struct ff_queue *queue;

	if (id >= ff->nr_queues)
		return NULL;
	guard(spinlock)(&ff->queue_lock);
	queue = ff->queues[id];
	if (!queue || queue->service != service)
		return NULL;
	kref_get(&queue->ref);
	return queue;
}
