// SPDX-License-Identifier: GPL-2.0-only
/*
 * The copy queue: a user-mode queue that is the driver's own.
 *
 * Its PASID has a page table that never changes: the lower half of the address space
 * leads to DMA addresses, each to itself, and the upper half to device memory. So a
 * copy is an ordinary command of an ordinary queue, which tells whether it was carried
 * out, waits in line with the commands of programs for a slice at most, and delays no
 * flush, for those go through the command queue. Nothing of it has to be invalidated:
 * what an IOMMU says of a DMA address is the hosting's to keep.
 *
 * A fence of the command queue counts as passed if the device is gone. A copy does not:
 * ff_copy_end() returns an error then, and nothing of the destination is to be used.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sizes.h>

#include "hw/copy.h"
#include "hw/device.h"

#define FF_COPY_ENTRIES		1024

/* Copies that the device is to make before they are waited for. */
#define FF_COPY_BATCH		(FF_COPY_ENTRIES / 2)

/* How long to watch memory for the end of a copy before anything else is done. */
#define FF_COPY_SPIN_NS		(20 * NSEC_PER_USEC)

/* A copy of more is worth an interrupt. */
#define FF_COPY_IRQ_BYTES	SZ_64K

/* What an entry of the top table covers, and a leaf below it. */
#define FF_COPY_TOP_SHIFT	39
#define FF_COPY_LEAF_SHIFT	30
#define FF_COPY_TABLES		BIT(FF_COPY_DMA_BITS - FF_COPY_TOP_SHIFT)

/* Fills a table with leaves of 1 GiB, one behind the other. */
static void ff_copy_table_fill(__le64 *table, u64 start, u64 flags)
{
	unsigned int i;

	for (i = 0; i < FF_PT_ENTRIES; i++)
		table[i] = cpu_to_le64((start + ((u64)i << FF_COPY_LEAF_SHIFT)) |
				       flags | FF_PTE_VALID | FF_PTE_LEAF |
				       FF_PTE_READ | FF_PTE_WRITE);
}

/* The page table; of a leaf that leads beyond the end of memory nothing is used. */
static int ff_copy_tables_init(struct ff_device *ff)
{
	dma_addr_t top_dma, low_dma;
	__le64 *top, *low;
	unsigned int i;

	top = dmam_alloc_coherent(ff->dev, 2 * PAGE_SIZE, &top_dma, GFP_KERNEL);
	low = dmam_alloc_coherent(ff->dev, FF_COPY_TABLES * PAGE_SIZE, &low_dma,
				  GFP_KERNEL);
	if (!top || !low)
		return -ENOMEM;
	for (i = 0; i < FF_COPY_TABLES; i++) {
		ff_copy_table_fill(low + i * FF_PT_ENTRIES,
				   (u64)i << FF_COPY_TOP_SHIFT, 0);
		top[i] = cpu_to_le64((low_dma + i * PAGE_SIZE) | FF_PTE_VALID);
	}
	ff_copy_table_fill(top + FF_PT_ENTRIES, 0, FF_PTE_DEVICE);
	top[FF_COPY_DEVICE >> FF_COPY_TOP_SHIFT] =
		cpu_to_le64((top_dma + PAGE_SIZE) | FF_PTE_VALID);
	ff->copies.root = top_dma | FF_CONTEXT_VALID;
	return 0;
}

/* Takes a queue from those of programs. */
int ff_copies_init(struct ff_device *ff)
{
	struct ff_copies *copies = &ff->copies;
	size_t done = FF_RING_ENTRIES_OFFSET +
		      FF_COPY_ENTRIES * sizeof(struct ff_descriptor);
	void *memory;
	int ret;

	if (ff->vram > BIT_ULL(FF_COPY_TOP_SHIFT))
		return dev_err_probe(ff->dev, -ENODEV,
				     "%llu bytes of device memory: out of range\n",
				     ff->vram);
	mutex_init(&copies->lock);
	memory = dmam_alloc_coherent(ff->dev, done + FF_COPY_ENTRIES *
				     sizeof(struct ff_completion),
				     &copies->ring_dma, GFP_KERNEL);
	if (!memory)
		return -ENOMEM;
	copies->ring = memory;
	copies->entries = memory + FF_RING_ENTRIES_OFFSET;
	copies->done = memory + done;
	copies->done_dma = copies->ring_dma + done;
	ret = ff_copy_tables_init(ff);
	if (ret)
		return ret;

	copies->queue = --ff->nr_queues;
	copies->doorbell = devm_ioremap(ff->dev, ff->doorbells + copies->queue *
					FF_DOORBELL_STRIDE, FF_DOORBELL_STRIDE);
	if (!copies->doorbell)
		return -ENOMEM;
	WRITE_ONCE(ff->context_table[FF_COPY_PASID].root,
		   cpu_to_le64(copies->root));
	return 0;
}

/* The device has started anew, and knows no queue. Nobody copies meanwhile. */
void ff_copies_restart(struct ff_device *ff)
{
	guard(mutex)(&ff->copies.lock);
	ff->copies.enabled = false;
}

/* When it is first needed: a device that has a queue is not at rest. */
static void ff_copies_enable(struct ff_device *ff)
{
	struct ff_copies *copies = &ff->copies;
	struct ff_command command = {
		.opcode = FF_CMD_QUEUE_ENABLE,
		.queue = cpu_to_le16(copies->queue),
		.pasid = cpu_to_le32(FF_COPY_PASID),
		.address = cpu_to_le64(copies->ring_dma),
		.value = cpu_to_le64(FF_COPY_ENTRIES),
		.extra = cpu_to_le64(FF_VECTOR_QUEUE +
				     copies->queue % ff->nr_completions),
	};

	lockdep_assert_held(&copies->lock);
	memset(copies->ring, 0, sizeof(*copies->ring));
	copies->tail = 0;
	ff_command_run(ff, &command);
	copies->enabled = true;
	WRITE_ONCE(copies->faulted, false);
}

/* A queue that has faulted never goes on; the next copy begins with a new one. */
static void ff_copies_disable(struct ff_device *ff)
{
	struct ff_command command = {
		.opcode = FF_CMD_QUEUE_DISABLE,
		.queue = cpu_to_le16(ff->copies.queue),
	};

	lockdep_assert_held(&ff->copies.lock);
	ff_command_run(ff, &command);
	/* What it has faulted on besides is nothing that the next one has. */
	ff_faults_drain(ff);
	ff->copies.enabled = false;
}

/* Whether the last entry was carried out, and so all before it. */
static bool ff_copies_passed(const struct ff_copies *copies)
{
	const struct ff_completion *last =
		&copies->done[(copies->tail - 1) % FF_COPY_ENTRIES];

	return le64_to_cpu(READ_ONCE(last->fence)) == copies->fence;
}

static bool ff_copies_over(struct ff_device *ff)
{
	return ff_copies_passed(&ff->copies) || READ_ONCE(ff->commands.gone) ||
	       READ_ONCE(ff->copies.faulted);
}

/* Waits until the device touches none of what is copied any more. */
static void ff_copies_await(struct ff_device *ff)
{
	u64 spin = ktime_get_mono_fast_ns() + FF_COPY_SPIN_NS;
	unsigned long deadline = jiffies + ff_command_patience();
	bool irq = ff->copies.bytes >= FF_COPY_IRQ_BYTES;

	while (!ff_copies_over(ff)) {
		if (ktime_get_mono_fast_ns() < spin) {
			cpu_relax();
			continue;
		}
		if (irq)
			wait_event_timeout(*ff_completion(ff, ff->copies.queue),
					   ff_copies_over(ff), HZ);
		else
			usleep_range(20, 100);
		if (!ff_copies_over(ff))
			ff_command_look_until(ff, deadline);
	}
}

/* Has the device make the copies that were added. */
static void ff_copies_run(struct ff_device *ff)
{
	struct ff_copies *copies = &ff->copies;
	struct ff_descriptor *last =
		&copies->entries[(copies->tail - 1) % FF_COPY_ENTRIES];
	const struct ff_completion *done;

	lockdep_assert_held(&copies->lock);
	if (!copies->pending)
		return;
	if (copies->bytes >= FF_COPY_IRQ_BYTES)
		last->flags |= FF_DESC_IRQ;
	dma_wmb(); /* the entries, then the tail */
	WRITE_ONCE(copies->ring->tail, cpu_to_le32(copies->tail));
	/* writel() orders the tail before the doorbell. */
	writel(0, copies->doorbell);
	ff_copies_await(ff);

	copies->failed |= !ff_copies_passed(copies);
	dma_rmb(); /* the fence, then the rest of the records */
	for (; copies->pending; copies->pending--) {
		done = &copies->done[(copies->tail - copies->pending) %
				     FF_COPY_ENTRIES];
		copies->failed |= done->status != cpu_to_le32(FF_STATUS_OK);
	}
	copies->bytes = 0;
	if (READ_ONCE(copies->faulted))
		ff_copies_disable(ff);
}

/**
 * ff_copy_begin() - Begin to have memory copied
 * @ff: device with memory of its own; the caller is in a section of ff_device_enter()
 *
 * Until ff_copy_end() nothing is waited for but the device.
 */
void ff_copy_begin(struct ff_device *ff)
{
	struct ff_copies *copies = &ff->copies;

	lockdep_assert(srcu_read_lock_held(&ff->unplug));
	mutex_lock(&copies->lock);
	copies->failed = READ_ONCE(ff->lost);
	if (!copies->failed && !copies->enabled)
		ff_copies_enable(ff);
}

static void ff_copies_push(struct ff_device *ff, struct ff_descriptor entry)
{
	struct ff_copies *copies = &ff->copies;
	u32 slot = copies->tail % FF_COPY_ENTRIES;

	lockdep_assert_held(&copies->lock);
	if (copies->failed)
		return;
	entry.completion = cpu_to_le64(copies->done_dma +
				       slot * sizeof(*copies->done));
	entry.fence = cpu_to_le64(++copies->fence);
	copies->entries[slot] = entry;
	copies->tail++;
	copies->bytes += le64_to_cpu(entry.length);
	ff_count(&ff->counters, FF_COUNT_COPIES, 1);
	if (++copies->pending == FF_COPY_BATCH)
		ff_copies_run(ff);
}

/* Whether a copy continues the one before it, which the device has not been told of. */
static bool ff_copies_extend(struct ff_copies *copies, u64 destination,
			     u64 source, u64 length)
{
	struct ff_descriptor *last =
		&copies->entries[(copies->tail - 1) % FF_COPY_ENTRIES];
	u64 before = le64_to_cpu(last->length);

	if (!copies->pending || last->opcode != FF_OP_COPY ||
	    le64_to_cpu(last->destination) + before != destination ||
	    le64_to_cpu(last->source) + before != source)
		return false;
	last->length = cpu_to_le64(before + length);
	copies->bytes += length;
	return true;
}

/**
 * ff_copy_add() - Have memory copied
 * @ff: device
 * @destination: a DMA address, or FF_COPY_DEVICE and an offset in device memory
 * @source: likewise
 * @length: bytes
 *
 * It has been copied when ff_copy_end() returns 0.
 */
void ff_copy_add(struct ff_device *ff, u64 destination, u64 source, u64 length)
{
	struct ff_descriptor entry = {
		.opcode = FF_OP_COPY,
		.source = cpu_to_le64(source),
		.destination = cpu_to_le64(destination),
		.length = cpu_to_le64(length),
	};

	if (!ff_copies_extend(&ff->copies, destination, source, length))
		ff_copies_push(ff, entry);
}

/* As ff_copy_add(), but makes it zeroes. */
void ff_copy_add_zeroes(struct ff_device *ff, u64 destination, u64 length)
{
	ff_copies_push(ff, (struct ff_descriptor) {
		.opcode = FF_OP_FILL,
		.destination = cpu_to_le64(destination),
		.length = cpu_to_le64(length),
	});
}

/**
 * ff_copy_end() - Have it done
 * @ff: device
 *
 * Return: 0, and all is copied and visible; -EIO if something may not be, and
 * nothing copies any more.
 */
int ff_copy_end(struct ff_device *ff)
{
	struct ff_copies *copies = &ff->copies;
	int ret;

	ff_copies_run(ff);
	ret = copies->failed ? -EIO : 0;
	mutex_unlock(&copies->lock);
	return ret;
}
