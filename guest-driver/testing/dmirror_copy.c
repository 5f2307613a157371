// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads and writes of the selftest, carried out by the device.
 *
 * The device copies between the range and a bounce buffer, by a queue that the
 * driver submits to; the CPU copies between that and the caller's buffer. So
 * the range is reached through the mirror and by far faults only, whatever
 * kind of memory it is.
 *
 * A command is done piece by piece, in a buffer of fixed size: there is no
 * number of pages that would need much memory here. If it fails half-way, what
 * came before has been done.
 */
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "file/resident.h"
#include "hw/device.h"
#include "testing/dmirror.h"
#include "testing/testing.h"

/* The memory: a page with the ring and the record behind it, then the buffer. */
#define FF_COPY_ENTRIES		FF_RING_MIN_ENTRIES
#define FF_COPY_RECORD		(FF_RING_ENTRIES_OFFSET + \
				 FF_COPY_ENTRIES * sizeof(struct ff_descriptor))
#define FF_COPY_BUFFER		PAGE_SIZE
#define FF_COPY_BUFFER_SIZE	SZ_256K

static_assert(FF_COPY_RECORD % sizeof(struct ff_completion) == 0);
static_assert(FF_COPY_RECORD + sizeof(struct ff_completion) <= FF_COPY_BUFFER);

static void *ff_copy_memory(const struct ff_dmirror *dmirror, size_t offset)
{
	return dmirror->ctx->resident->memory + offset;
}

/* --- The queue ------------------------------------------------------------ */

/* Lets go of the queue, if there is one, which goes with the context at the latest. */
void ff_dmirror_copy_fini(struct ff_dmirror *dmirror)
{
	if (!dmirror->queue)
		return;
	iounmap(dmirror->doorbell);
	ff_queue_put(dmirror->queue);
	dmirror->queue = NULL;
}

static void ff_copy_queue_stop(struct ff_dmirror *dmirror)
{
	ff_queue_stop(dmirror->ctx, dmirror->queue);
	ff_dmirror_copy_fini(dmirror);
}

static int ff_copy_queue_start(struct ff_dmirror *dmirror)
{
	struct ff_ctx *ctx = dmirror->ctx;
	struct ff_queue *queue;
	int ret;

	if (dmirror->queue)
		return 0;
	ret = ctx->resident ? 0 : ff_resident_map(ctx, FF_COPY_BUFFER +
						  FF_COPY_BUFFER_SIZE);
	if (ret)
		return ret;

	/* A new queue goes on at the head that it finds. */
	memset(ff_copy_memory(dmirror, 0), 0, FF_COPY_BUFFER);
	dmirror->tail = 0;
	queue = ff_queue_start(ctx, FF_RESIDENT_START, FF_COPY_ENTRIES);
	if (IS_ERR(queue))
		return PTR_ERR(queue);
	dmirror->doorbell = ioremap(ctx->ff->doorbells +
				    queue->id * FF_DOORBELL_STRIDE,
				    FF_DOORBELL_STRIDE);
	if (!dmirror->doorbell) {
		ff_queue_stop(ctx, queue);
		ff_queue_put(queue);
		return -ENOMEM;
	}
	dmirror->queue = queue;
	return 0;
}

/*
 * Whether there is nothing to wait for any more; *ret then says why. As in
 * ff_fence_check(), a copy that has ended counts whatever became of the queue.
 */
static bool ff_copy_ended(struct ff_dmirror *dmirror, int *ret)
{
	struct ff_completion *record = ff_copy_memory(dmirror, FF_COPY_RECORD);

	*ret = ff_queue_state(dmirror->queue);
	smp_rmb(); /* state before fence */
	if (le64_to_cpu(READ_ONCE(record->fence)) == dmirror->fence) {
		*ret = 0;
		return true;
	}
	return *ret;
}

/* Returns how the device judged it, or an error if it did not come to that. */
static int ff_copy_submit(struct ff_dmirror *dmirror, u64 source,
			  u64 destination, size_t length)
{
	struct ff_device *ff = dmirror->ctx->ff;
	struct ff_ring_header *ring = ff_copy_memory(dmirror, 0);
	struct ff_descriptor *entries =
		ff_copy_memory(dmirror, FF_RING_ENTRIES_OFFSET);
	struct ff_completion *record = ff_copy_memory(dmirror, FF_COPY_RECORD);
	int ret = 0;

	entries[dmirror->tail % FF_COPY_ENTRIES] = (struct ff_descriptor) {
		.opcode = FF_OP_COPY,
		.flags = FF_DESC_IRQ,
		.source = cpu_to_le64(source),
		.destination = cpu_to_le64(destination),
		.length = cpu_to_le64(length),
		.completion = cpu_to_le64(FF_RESIDENT_START + FF_COPY_RECORD),
		.fence = cpu_to_le64(++dmirror->fence),
	};
	dma_wmb();
	WRITE_ONCE(ring->tail, cpu_to_le32(++dmirror->tail));
	/* writel() orders the tail before the doorbell. */
	writel(0, dmirror->doorbell);

	if (wait_event_killable(*ff_completion(ff, dmirror->queue->id),
				ff_copy_ended(dmirror, &ret)))
		ret = -EINTR;
	if (ret) {
		/* The device may be at work on it, and must not be later on. */
		ff_copy_queue_stop(dmirror);
		return ret;
	}
	dma_rmb();
	return le32_to_cpu(record->status);
}

/* --- Commands ------------------------------------------------------------- */

/* One piece, through the buffer. */
static int ff_copy_piece(struct ff_dmirror *dmirror,
			 const struct ff_dmirror_cmd *cmd, bool write,
			 unsigned long done, size_t length)
{
	void *bounce = ff_copy_memory(dmirror, FF_COPY_BUFFER);
	u64 buffer = FF_RESIDENT_START + FF_COPY_BUFFER;
	void __user *user = u64_to_user_ptr(cmd->ptr + done);
	unsigned long address = cmd->addr + done;
	int ret;

	if (!write) {
		ret = ff_copy_submit(dmirror, address, buffer, length);
		if (!ret && copy_to_user(user, bounce, length))
			ret = -EFAULT;
		return ret;
	}
	if (copy_from_user(bounce, user, length))
		return -EFAULT;
	return ff_copy_submit(dmirror, buffer, address, length);
}

/* What the caller hears of an access that was refused for @error. */
static int ff_copy_refused(int error)
{
	return error == -EPERM || error == -ENOMEM ? error : -EFAULT;
}

static int ff_dmirror_copy(struct ff_dmirror *dmirror,
			   struct ff_dmirror_cmd *cmd, bool write)
{
	unsigned long size = cmd->npages << PAGE_SHIFT, done = 0;
	struct ff_announcement announced = {};
	size_t length;
	int ret;

	ACQUIRE(mutex_kill, lock)(&dmirror->lock);
	ret = ACQUIRE_ERR(mutex_kill, &lock) ?: ff_copy_queue_start(dmirror);
	if (ret)
		return ret;
	ff_announce_begin(dmirror->queue, cmd->addr, cmd->addr + size, write);
	while (!ret && done < size) {
		length = min(size - done, FF_COPY_BUFFER_SIZE);
		ret = ff_copy_piece(dmirror, cmd, write, done, length);
		done += length;
	}
	if (dmirror->queue)
		announced = ff_announce_end(dmirror->queue);
	cmd->cpages = cmd->npages;
	cmd->faults = announced.rounds;
	if (ret == FF_STATUS_FAULT)
		return ff_copy_refused(announced.error);
	if (ret == FF_STATUS_NO_MEMORY)
		return -ENOMEM;
	return ret > 0 ? -EIO : ret;
}

/* FF_DMIRROR_READ */
int ff_dmirror_read(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	return ff_dmirror_copy(dmirror, cmd, false);
}

/* FF_DMIRROR_WRITE */
int ff_dmirror_write(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	return ff_dmirror_copy(dmirror, cmd, true);
}
