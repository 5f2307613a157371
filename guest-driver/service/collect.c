// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fault queue: from records to groups.
 *
 * ff_fault_drain() runs in the thread of the interrupt and does no more than
 * sort: each record to the group of its queue, and a group whose last record is
 * there to its context, whose thread is woken; service/batch.c goes on from there.
 * A slow address space holds up only itself.
 *
 * A queue has one group on its way at a time, so there is room for it in
 * &struct ff_queue and nothing need be allocated; and a group that is spread
 * over several interrupts is put together.
 */
#include <linux/dma-mapping.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>

#include "base/trace.h"
#include "file/ctx.h"
#include "file/queue.h"
#include "hw/device.h"
#include "service/batch.h"
#include "service/collect.h"
#include "testing/break.h"

static unsigned int fault_entries = 4096;
module_param(fault_entries, uint, 0444);
MODULE_PARM_DESC(fault_entries, "Entries of the fault queue, a power of two; a small number makes it overflow");

int ff_faults_init(struct ff_device *ff)
{
	struct ff_fault_ring *faults = &ff->faults;
	dma_addr_t dma;
	void *memory;

	if (!is_power_of_2(fault_entries) ||
	    fault_entries < FF_RING_MIN_ENTRIES ||
	    fault_entries > FF_RING_MAX_ENTRIES)
		return dev_err_probe(ff->dev, -EINVAL,
				     "fault_entries=%u is not a power of two from %u to %u\n",
				     fault_entries, FF_RING_MIN_ENTRIES,
				     FF_RING_MAX_ENTRIES);

	faults->size = fault_entries;
	memory = dmam_alloc_coherent(ff->dev, FF_RING_ENTRIES_OFFSET +
				     faults->size * sizeof(struct ff_fault),
				     &dma, GFP_KERNEL);
	if (!memory)
		return -ENOMEM;
	faults->ring = memory;
	faults->entries = memory + FF_RING_ENTRIES_OFFSET;

	writeq(dma, ff->regs + FF_REG_FAULT_BASE);
	writel(faults->size, ff->regs + FF_REG_FAULT_ENTRIES);
	return 0;
}

/* Who waits for the queue is told that nothing more will come of it. */
static void ff_queue_halted(struct ff_device *ff, struct ff_queue *queue)
{
	/* Behind the record that says so; pairs with smp_rmb() of who waits. */
	smp_store_release(&queue->halted, true);
	ff_count(&ff->counters, FF_COUNT_QUEUES_HALTED, 1);
	wake_up_all(ff_completion(ff, queue->id));
}

static void ff_fault_halted(struct ff_device *ff, struct ff_queue *queue,
			    const struct ff_fault *fault)
{
	dev_dbg_ratelimited(ff->dev, "queue %u halted: reason %u, address %#llx\n",
			    queue->id, fault->reason,
			    le64_to_cpu(fault->address));
	ff_queue_halted(ff, queue);
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
	u64 rest = FF_SPAN_PAGES - 1 - address / PAGE_SIZE % FF_SPAN_PAGES;
	struct ff_request request = {
		.address = address & PAGE_MASK,
		.want = fault->access & FF_ACCESS,
		.stream = fault->access & FF_ACCESS,
		.extent = min(le32_to_cpu(fault->extent), rest),
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
	}
	queue->requests[queue->nr++] = request;
	return true;
}

/* Sorts one record. Nothing that the device writes is trusted. */
static void ff_fault_sort(struct ff_device *ff, const struct ff_fault *fault)
{
	unsigned int id = le16_to_cpu(fault->queue);
	struct ff_queue *queue = id < ff->nr_queues ? ff->queues[id] : NULL;
	struct ff_ctx *ctx;

	trace_ff_fault(fault);
	if (!queue || !READ_ONCE(queue->alive) || READ_ONCE(ff->unplugged)) {
		ff_count(&ff->counters, FF_COUNT_STALE_FAULTS, 1);
		return;
	}
	ctx = queue->ctx;
	if (le32_to_cpu(fault->pasid) != ctx->mirror.pasid)
		goto bad;
	if (fault->kind == FF_FAULT_QUEUE_HALTED) {
		ff_fault_halted(ff, queue, fault);
		return;
	}
	if (fault->kind != FF_FAULT_PAGE_REQUEST ||
	    queue->state != FF_GROUP_COLLECTING || queue->nr >= ff->window ||
	    !ff_group_add(queue, fault))
		goto bad;
	ff_count(&ff->counters, FF_COUNT_FAULTS, 1);
	if (!(fault->flags & FF_FAULT_LAST))
		return;

	queue->state = FF_GROUP_READY;
	list_add_tail(&queue->link, &ctx->ready);
	ff_service_wake(ctx);
	return;

bad:
	ff_fault_bad(ff, queue, fault);
}

/* Reads up to @tail. A wild tail costs a round of old records, not more. */
static void ff_faults_read(struct ff_device *ff, u32 tail)
{
	struct ff_fault_ring *faults = &ff->faults;
	u32 nr = min(tail - faults->head, faults->size);
	struct ff_fault fault;

	for (; nr; nr--) {
		fault = faults->entries[faults->head++ & (faults->size - 1)];
		if (ff_break_misreads(&fault))
			fault.kind = 0;
		ff_fault_sort(ff, &fault);
	}
	faults->head = tail;
	WRITE_ONCE(faults->ring->head, cpu_to_le32(tail));
}

/* The device has found the queue full. It looks for room when it is rung. */
static void ff_faults_overflown(struct ff_device *ff)
{
	struct ff_fault_ring *faults = &ff->faults;
	u32 overflows = le32_to_cpu(READ_ONCE(faults->ring->overflows));

	if (overflows == faults->overflows)
		return;
	ff_count(&ff->counters, FF_COUNT_FAULT_OVERFLOWS,
		 overflows - faults->overflows);
	faults->overflows = overflows;
	ff_command_ring(ff);
}

/**
 * ff_fault_drain() - Read the fault queue until it is empty
 * @ff: device
 *
 * The device interrupts only when the queue was empty before, so once the head
 * is written the tail is looked at again. Writing the head first, with a full
 * barrier, is also what keeps both sides from missing each other when the
 * device waits for room.
 */
void ff_fault_drain(struct ff_device *ff)
{
	struct ff_ring_header *ring = ff->faults.ring;
	u32 tail;

	spin_lock(&ff->queue_lock);
	while ((tail = le32_to_cpu(READ_ONCE(ring->tail))) != ff->faults.head) {
		dma_rmb(); /* the tail, then the records before it */
		ff_faults_read(ff, tail);
		mb(); /* the head, then tail and overflows again */
		ff_faults_overflown(ff);
	}
	spin_unlock(&ff->queue_lock);
}
