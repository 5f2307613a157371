// SPDX-License-Identifier: GPL-2.0-only
/*
 * User-mode queues: create, destroy, wait, and the doorbell page.
 *
 * Ring, descriptors and fences are the program's own memory; the driver is
 * asked only to bind a ring to a queue and to sleep until a fence is reached.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "hw/device.h"
#include "hw/fault_ring.h"
#include "mirror/often.h"

static bool ff_ring_valid(const struct ff_queue_create *create)
{
	u64 size = FF_RING_ENTRIES_OFFSET +
		   create->entries * (u64)sizeof(struct ff_descriptor);

	return IS_ALIGNED(create->ring, FF_RING_ENTRIES_OFFSET) &&
	       is_power_of_2(create->entries) &&
	       create->entries >= FF_RING_MIN_ENTRIES &&
	       create->entries <= FF_RING_MAX_ENTRIES &&
	       access_ok(u64_to_user_ptr(create->ring), size);
}

/* Gives a queue a number, and tells the device of it. */
static int ff_queue_begin(struct ff_ctx *ctx, struct ff_queue *queue, u64 ring,
			  u32 entries)
{
	struct ff_device *ff = ctx->ff;
	struct ff_command command;
	int ret;

	lockdep_assert_held(&ctx->service.lock);
	ret = READ_ONCE(ff->lost) ? -EIO : ff_queue_number(queue);
	if (ret)
		return ret;
	ret = ff_quota_queue(ctx);
	if (ret) {
		ff_queue_forget(queue);
		return ret;
	}
	ff_count(&ff->counters, FF_COUNT_QUEUES, 1);
	ff_often_go_on(&ctx->mirror);

	command = (struct ff_command) {
		.opcode = FF_CMD_QUEUE_ENABLE,
		.queue = cpu_to_le16(queue->id),
		.pasid = cpu_to_le32(ctx->mirror.pasid),
		.address = cpu_to_le64(ring),
		.value = cpu_to_le64(entries),
		.extra = cpu_to_le64(FF_VECTOR_QUEUE +
				     queue->id % ff->nr_completions),
	};
	ff_command_run(ff, &command);
	return 0;
}

/**
 * ff_queue_start() - Bind a ring to a free queue
 * @ctx: context in whose address space the ring is
 * @ring: device address of the ring's header
 * @entries: entries of the ring
 *
 * Return: queue with a reference for the caller, or ERR_PTR(-ENOSPC) if all
 * are taken, or as ff_quota_queue(), ERR_PTR(-EIO) if the device is lost, ERR_PTR(-ENOMEM),
 * ERR_PTR(-EINTR) if the caller was killed.
 */
struct ff_queue *ff_queue_start(struct ff_ctx *ctx, u64 ring, u32 entries)
{
	struct ff_queue *queue = ff_queue_alloc(&ctx->service);
	int ret;

	if (!queue)
		return ERR_PTR(-ENOMEM);
	ret = mutex_lock_killable(&ctx->service.lock);
	if (!ret) {
		ret = ff_queue_begin(ctx, queue, ring, entries);
		mutex_unlock(&ctx->service.lock);
	}
	if (ret) {
		ff_queue_put(queue);
		return ERR_PTR(ret);
	}
	return queue;
}

/* FF_IOC_QUEUE_CREATE */
int ff_ioctl_queue_create(struct ff_ctx *ctx, void *arg)
{
	struct ff_queue_create *create = arg;
	struct ff_queue *queue;

	if (create->flags || create->reserved || !ff_ring_valid(create))
		return -EINVAL;
	queue = ff_queue_start(ctx, create->ring, create->entries);
	if (IS_ERR(queue))
		return PTR_ERR(queue);
	create->queue = queue->id;
	create->doorbell = queue->id * (u64)FF_DOORBELL_STRIDE;
	ff_queue_put(queue);
	return 0;
}

/*
 * Takes a queue from the device. Once it is not alive nothing is posted for it
 * any more, so the device gets no answer that belongs to this queue after its
 * number has been given to another.
 */
static void ff_queue_end(struct ff_ctx *ctx, struct ff_queue *queue)
{
	struct ff_device *ff = ctx->ff;
	struct ff_command command = {
		.opcode = FF_CMD_QUEUE_DISABLE,
		.queue = cpu_to_le16(queue->id),
	};

	lockdep_assert_held(&ctx->service.lock);
	WRITE_ONCE(queue->alive, false);
	if (ctx->mapping)
		unmap_mapping_range(ctx->mapping,
				    queue->id * (loff_t)FF_DOORBELL_STRIDE,
				    PAGE_SIZE, 1);
	ff_command_run(ff, &command);

	/* Its last records are in the fault queue; the next owner must not get them. */
	ff_faults_drain(ff);
	ff_count(&ff->counters, FF_COUNT_QUEUES, -1);
	wake_up_all(ff_completion(ff, queue->id));
	ff_queue_forget(queue);
}

/* Takes a queue from the device if it still has it. */
void ff_queue_stop(struct ff_ctx *ctx, struct ff_queue *queue)
{
	guard(mutex)(&ctx->service.lock);
	if (queue->alive)
		ff_queue_end(ctx, queue);
}

/* FF_IOC_QUEUE_DESTROY */
int ff_ioctl_queue_destroy(struct ff_ctx *ctx, void *arg)
{
	struct ff_queue_destroy *destroy = arg;
	struct ff_queue *queue;
	int ret;

	if (destroy->flags)
		return -EINVAL;
	ret = mutex_lock_killable(&ctx->service.lock);
	if (ret)
		return ret;
	queue = ff_queue_get(&ctx->service, destroy->queue);
	if (queue) {
		ff_queue_end(ctx, queue);
		ff_queue_put(queue);
	}
	mutex_unlock(&ctx->service.lock);
	return queue ? 0 : -ENOENT;
}

void ff_queues_destroy(struct ff_ctx *ctx)
{
	unsigned int id;

	guard(mutex)(&ctx->service.lock);
	for (id = 0; id < ctx->ff->nr_queues; id++) {
		struct ff_queue *queue __free(ff_queue) =
			ff_queue_get(&ctx->service, id);
		if (queue)
			ff_queue_end(ctx, queue);
	}
}

/*
 * The device has stopped and knows no queue any more. A command that was under way
 * cannot be begun again, so the queues do not come back with it. They keep their
 * numbers until they are destroyed, which is when nobody has their doorbells mapped
 * any more.
 */
void ff_queues_lose(struct ff_device *ff)
{
	unsigned int id;

	guard(spinlock)(&ff->queue_lock);
	for (id = 0; id < ff->nr_queues; id++)
		if (ff->queues[id])
			WRITE_ONCE(ff->queues[id]->halted, true);
}

/* 0 if a queue may complete more; else -ENODEV, -ENOENT or -EIO. */
int ff_queue_state(const struct ff_queue *queue)
{
	const struct ff_device *ff = queue->service->ff;

	if (READ_ONCE(ff->unplugged))
		return -ENODEV;
	if (!READ_ONCE(queue->alive))
		return -ENOENT;
	return READ_ONCE(queue->halted) || READ_ONCE(ff->lost) ? -EIO : 0;
}

/*
 * 0 once the fence is reached, 1 if not yet. A fence that is reached counts
 * even if the queue has halted since: the device stores it, then halts, so who
 * has seen the queue halted sees the fence, too.
 */
static int ff_fence_check(struct ff_queue *queue, const struct ff_wait *wait)
{
	int state = ff_queue_state(queue);
	u64 value;

	smp_rmb(); /* state before fence */
	if (get_user(value, (u64 __user *)u64_to_user_ptr(wait->address)))
		return -EFAULT;
	if ((s64)(value - wait->value) >= 0)
		return 0;
	return state ?: 1;
}

/*
 * Jiffies until @deadline, rounded up; 0 if it has passed. Never more than a
 * long can hold, so a far deadline may need another round.
 */
static long ff_timeout(u64 deadline)
{
	u64 now = ktime_get_ns();

	if (!deadline)
		return MAX_SCHEDULE_TIMEOUT;
	if (now >= deadline)
		return 0;
	return min_t(u64, nsecs_to_jiffies64(deadline - now) + 1,
		     MAX_SCHEDULE_TIMEOUT - 1);
}

/* The device of a fence that does not come may be gone. */
static void ff_fence_look(struct ff_device *ff)
{
	int section;

	if (!ff_device_enter(ff, &section))
		return;
	ff_command_look(ff);
	ff_device_exit(ff, section);
}

/*
 * Looks before it sleeps, with its wait entry queued before it looks: the
 * device stores the fence, then interrupts, so no wake-up is lost. Looking may
 * sleep in a page fault, which is why wait_woken() is used. Of a command without
 * FF_DESC_IRQ nothing tells, so it looks again by itself as well, the less often
 * the longer it lasts.
 */
static int ff_fence_wait(struct ff_queue *queue, const struct ff_wait *wait)
{
	wait_queue_head_t *head = ff_completion(queue->service->ff, queue->id);
	unsigned long look = jiffies + HZ;
	DEFINE_WAIT_FUNC(entry, woken_wake_function);
	long timeout, period = 1;
	int ret;

	add_wait_queue(head, &entry);
	while ((ret = ff_fence_check(queue, wait)) == 1) {
		timeout = ff_timeout(wait->deadline);
		if (!timeout) {
			ret = -ETIME;
			break;
		}
		if (signal_pending(current)) {
			ret = -ERESTARTSYS;
			break;
		}
		wait_woken(&entry, TASK_INTERRUPTIBLE, min(timeout, period));
		period = min(2 * period, HZ / 10);
		if (time_after(jiffies, look)) {
			ff_fence_look(queue->service->ff);
			look = jiffies + HZ;
		}
	}
	remove_wait_queue(head, &entry);
	return ret;
}

/* FF_IOC_WAIT */
int ff_ioctl_wait(struct ff_ctx *ctx, void *arg)
{
	const struct ff_wait *wait = arg;

	if (wait->flags || !IS_ALIGNED(wait->address, sizeof(u64)))
		return -EINVAL;
	struct ff_queue *queue __free(ff_queue) =
		ff_queue_get(&ctx->service, wait->queue);
	return queue ? ff_fence_wait(queue, wait) : -ENOENT;
}

/*
 * The doorbell page is entered at the first touch rather than by mmap(), for
 * then it is certain that ff_queue_end() finds it: a mapping made by mmap()
 * itself is not yet known to unmap_mapping_range().
 */
static vm_fault_t ff_doorbell_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct ff_ctx *ctx = vma->vm_file->private_data;
	struct ff_device *ff = ctx->ff;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	struct ff_queue *queue;
	int section;

	if (!ff_device_enter(ff, &section))
		return ret;
	if (mutex_lock_killable(&ctx->service.lock)) {
		ret = VM_FAULT_NOPAGE;
		goto exit;
	}
	queue = ff_queue_get(&ctx->service, vmf->pgoff);
	if (queue) {
		ret = vmf_insert_pfn(vma, vmf->address,
				     PHYS_PFN(ff->doorbells) + queue->id);
		ff_queue_put(queue);
	}
	mutex_unlock(&ctx->service.lock);
exit:
	ff_device_exit(ff, section);
	return ret;
}

static const struct vm_operations_struct ff_doorbell_ops = {
	.fault = ff_doorbell_fault,
};

/* @vma is to be one shared page, at the offset that creating the queue gave. */
int ff_doorbell_mmap(struct ff_ctx *ctx, struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start != PAGE_SIZE ||
	    !(vma->vm_flags & VM_SHARED) || vma->vm_flags & VM_EXEC)
		return -EINVAL;
	struct ff_queue *queue __free(ff_queue) =
		ff_queue_get(&ctx->service,
			     min_t(unsigned long, vma->vm_pgoff, U32_MAX));
	if (!queue)
		return -ENOENT;

	vm_flags_mod(vma, VM_IO | VM_PFNMAP | VM_DONTCOPY | VM_DONTEXPAND |
		     VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vma->vm_ops = &ff_doorbell_ops;
	return 0;
}
