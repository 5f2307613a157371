// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fault queue: a ring of records that the device writes.
 *
 * ff_faults_drain() reads them: in the thread of the interrupt, and before a queue
 * ends. Whose they are is known above.
 */
#include <linux/dma-mapping.h>
#include <linux/log2.h>
#include <linux/moduleparam.h>

#include "base/upward.h"
#include "hw/device.h"
#include "hw/fault_ring.h"

static unsigned int fault_entries = 4096;
module_param(fault_entries, uint, 0444);
MODULE_PARM_DESC(fault_entries, "Entries of the fault queue, a power of two; a small number makes it overflow");

int ff_faults_init(struct ff_device *ff)
{
	struct ff_fault_ring *faults = &ff->faults;
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
				     &faults->dma, GFP_KERNEL);
	if (!memory)
		return -ENOMEM;
	faults->ring = memory;
	faults->entries = memory + FF_RING_ENTRIES_OFFSET;
	return 0;
}

/*
 * Begins anew with an empty fault queue; the device takes up its index from the header
 * when it starts. What is left in there is of queues that the device has forgotten.
 */
void ff_faults_restart(struct ff_device *ff)
{
	struct ff_fault_ring *faults = &ff->faults;

	spin_lock(&ff->queue_lock);
	memset(faults->ring, 0, sizeof(*faults->ring));
	faults->head = 0;
	faults->overflows = 0;
	spin_unlock(&ff->queue_lock);
	writeq(faults->dma, ff->regs + FF_REG_FAULT_BASE);
	writel(faults->size, ff->regs + FF_REG_FAULT_ENTRIES);
}

/*
 * Whether a record is of the copy queue: a page request, or that it is halted. Nothing
 * helps it, for its page table is all there.
 */
static bool ff_fault_is_of_copies(struct ff_device *ff,
				  const struct ff_fault *fault)
{
	if (!ff->vram || le16_to_cpu(fault->queue) != ff->copies.queue)
		return false;
	WRITE_ONCE(ff->copies.faulted, true);
	wake_up_all(ff_completion(ff, ff->copies.queue));
	return true;
}

/* Reads up to @tail. A wild tail costs a round of old records, not more. */
static void ff_faults_read(struct ff_device *ff, u32 tail)
{
	struct ff_fault_ring *faults = &ff->faults;
	u32 nr = min(tail - faults->head, faults->size);
	struct ff_fault fault;

	lockdep_assert_held(&ff->queue_lock);
	for (; nr; nr--) {
		fault = faults->entries[faults->head++ & (faults->size - 1)];
		if (!ff_fault_is_of_copies(ff, &fault))
			static_call_cond(ff_up_fault)(ff, &fault);
	}
	faults->head = tail;
	/* The device may overwrite the records once it sees the head. */
	dma_mb();
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

/*
 * Reads the fault queue until it is empty. The device interrupts only when the queue
 * was empty before, so once the head is written the tail is looked at again. Writing
 * the head first, with a full barrier, is also what keeps both sides from missing each
 * other when the device waits for room.
 */
void ff_faults_drain(struct ff_device *ff)
{
	struct ff_ring_header *ring = ff->faults.ring;
	u32 tail;

	guard(spinlock)(&ff->queue_lock);
	while ((tail = le32_to_cpu(READ_ONCE(ring->tail))) != ff->faults.head) {
		dma_rmb(); /* the tail, then the records before it */
		ff_faults_read(ff, tail);
		mb(); /* the head, then tail and overflows again */
		ff_faults_overflown(ff);
	}
}
