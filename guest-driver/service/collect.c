// SPDX-License-Identifier: GPL-2.0-only
/*
 * From fault records to groups.
 *
 * ff_collect() runs under ff->queue_lock, most of the time in the thread of the
 * interrupt, and does no more than sort:
 * each record to the group of its queue, and a group whose last record is there
 * to its service, which is woken; service/batch.c goes on from there. A slow
 * address space holds up only itself.
 *
 * A queue has one group on its way at a time, so there is room for it in
 * &struct ff_queue and nothing need be allocated; and a group that is spread
 * over several interrupts is put together.
 */
#include "base/trace.h"
#include "hw/device.h"
#include "service/service.h"

/* Who waits for the queue is told that nothing more will come of it. */
static void ff_queue_halted(struct ff_device *ff, struct ff_queue *queue)
{
	/* Behind the record that says so; pairs with smp_rmb() of who waits. */
	smp_store_release(&queue->halted, true);
	ff_count(&ff->counters, FF_COUNT_QUEUES_HALTED, 1);
	wake_up_all(ff_completion(ff, queue->id));
}

/*
 * A record that makes no sense. If it was to be the last of its group nobody is
 * going to answer that: of what a broken device has asked for not even the name
 * of the group is certain. The device has parked the queue then, so it counts as
 * halted. Of a group that goes on, what is missed here is asked for once more.
 */
static void ff_fault_bad(struct ff_device *ff, struct ff_queue *queue,
			 const struct ff_fault *fault)
{
	ff_count(&ff->counters, FF_COUNT_BAD_RECORDS, 1);
	if (!(fault->flags & FF_FAULT_LAST) || queue->halted)
		return;
	dev_warn_ratelimited(ff->dev, "queue %u halted: its faults make no sense\n",
			     queue->id);
	ff_queue_halted(ff, queue);
}

/* Whether a page can help: tables that the device cannot use stay as they are. */
static bool ff_fault_can_be_served(const struct ff_fault *fault)
{
	return fault->reason == FF_REASON_NOT_PRESENT ||
	       fault->reason == FF_REASON_PERMISSION;
}

/* Adds a page request to the group of its queue. */
static bool ff_group_add(struct ff_queue *queue, const struct ff_fault *fault)
{
	u64 address = le64_to_cpu(fault->address);
	u32 rest = FF_SPAN_PAGES - 1 - address / PAGE_SIZE % FF_SPAN_PAGES;
	u32 extent = le32_to_cpu(fault->extent);
	struct ff_request request = {
		.address = address & PAGE_MASK,
		.want = fault->access & FF_ACCESS,
		.stream = fault->access & FF_ACCESS,
		.extent = min(extent, rest),
		.beyond = extent - min(extent, rest),
	};

	if (queue->nr && queue->group != le32_to_cpu(fault->group))
		return false;
	queue->group = le32_to_cpu(fault->group);

	if (!(fault->flags & FF_FAULT_LOOKAHEAD)) {
		request.demand = request.want;
		queue->demand = address;
	}
	if (!ff_fault_can_be_served(fault)) {
		queue->refused |= request.demand != 0;
		request.want = 0;
		request.demand = 0;
		request.extent = 0;
		request.beyond = 0;
	}
	queue->requests[queue->nr++] = request;
	return true;
}

/* Sorts one record; nothing in it is trusted. */
void ff_collect(struct ff_device *ff, const struct ff_fault *fault)
{
	unsigned int id = le16_to_cpu(fault->queue);
	struct ff_queue *queue = id < ff->nr_queues ? ff->queues[id] : NULL;
	struct ff_service *service;

	lockdep_assert_held(&ff->queue_lock);
	trace_ff_fault(fault);
	if (!queue || !READ_ONCE(queue->alive) || READ_ONCE(ff->unplugged)) {
		ff_count(&ff->counters, FF_COUNT_STALE_FAULTS, 1);
		return;
	}
	service = queue->service;
	if (le32_to_cpu(fault->pasid) != service->mirror->pasid)
		goto bad;
	if (fault->kind == FF_FAULT_ACCESSES) {
		ff_often_note(service, le64_to_cpu(fault->address));
		return;
	}
	if (fault->kind == FF_FAULT_QUEUE_HALTED) {
		dev_dbg_ratelimited(ff->dev, "queue %u halted: reason %u, address %#llx\n",
				    queue->id, fault->reason,
				    le64_to_cpu(fault->address));
		ff_queue_halted(ff, queue);
		return;
	}
	if (fault->kind != FF_FAULT_PAGE_REQUEST ||
	    queue->state != FF_GROUP_COLLECTING || queue->nr >= ff->lookahead ||
	    !ff_group_add(queue, fault))
		goto bad;
	ff_count(&ff->counters, FF_COUNT_FAULTS, 1);
	if (!(fault->flags & FF_FAULT_LAST))
		return;

	queue->state = FF_GROUP_READY;
	list_add_tail(&queue->link, &service->ready);
	ff_service_wake(service);
	return;

bad:
	ff_fault_bad(ff, queue, fault);
}
