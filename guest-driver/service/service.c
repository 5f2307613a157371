// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who serves the faults of a context.
 *
 * It is a thread of the process itself, one that never leaves the kernel, as
 * vhost's are. So what the device touches is charged to the process and its
 * cgroup, the OOM killer finds the one who asks for the memory, and a fault that
 * waits, for memory, for a file system or for a userfaultfd handler, ends when
 * the process is killed. A kernel thread that borrows the mm has none of this:
 * it keeps the memory of a killed process while it waits for just that memory.
 *
 * The price is that the process does not end as long as it has a thread. A
 * signal that ends it ends this thread, too, and so does exit_group(). But if
 * all threads of the program call plain exit(), nobody tells this one, and its
 * mm has the doorbell mapped, which keeps the file open. What such a program
 * does do is to close its file descriptors: ff_service_flush() looks there. If
 * it has closed the device's before, while a doorbell was still mapped, nothing
 * tells: see the limits in README.md.
 *
 * Faults that come without a process (the file can outlive it in another one,
 * or across exec) are refused by a work item.
 */
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>

#include "file/ctx.h"
#include "hw/device.h"
#include "service/batch.h"
#include "service/service.h"
#include "testing/stall.h"

/* What the thread calls before it sleeps; true if it is to call again. */
static bool ff_service_work(void *arg)
{
	struct ff_ctx *ctx = arg;
	bool waiting;

	spin_lock(&ctx->ff->queue_lock);
	waiting = !list_empty(&ctx->ready);
	spin_unlock(&ctx->ff->queue_lock);
	if (!waiting)
		return false;
	__set_current_state(TASK_RUNNING);
	ff_stall(&ctx->mirror, FF_STALL_READY);
	return ff_batch_serve(ctx);
}

/* Called in the thread as the last thing if it was killed. */
static void ff_service_retire(void *arg)
{
	struct ff_ctx *ctx = arg;

	spin_lock(&ctx->ff->queue_lock);
	ctx->service.retired = true;
	schedule_work(&ctx->service.retire);
	spin_unlock(&ctx->ff->queue_lock);
}

/* vhost_task_stop() frees, so whoever takes the pointer out calls it. */
static void ff_service_stop_thread(struct ff_ctx *ctx)
{
	struct vhost_task *thread;

	spin_lock(&ctx->ff->queue_lock);
	thread = ctx->service.thread;
	ctx->service.thread = NULL;
	ctx->service.retired = true;
	spin_unlock(&ctx->ff->queue_lock);
	if (thread)
		vhost_task_stop(thread);
}

static void ff_service_refuse(struct work_struct *work)
{
	struct ff_ctx *ctx = container_of(work, struct ff_ctx, service.retire);

	ff_service_stop_thread(ctx);
	while (ff_batch_serve(ctx))
		;
}

/**
 * ff_service_start() - Begin to serve the calling process
 * @ctx: context that the device does not know yet
 *
 * Return: 0, -ENOMEM, -EAGAIN if the process may have no more threads.
 */
int ff_service_start(struct ff_ctx *ctx)
{
	struct ff_service *service = &ctx->service;
	struct vhost_task *thread;

	INIT_WORK(&service->retire, ff_service_refuse);
	thread = vhost_task_create(ff_service_work, ff_service_retire, ctx,
				   ctx->ff->name);
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	service->process = get_pid(task_tgid(current));
	service->thread = thread;
	vhost_task_start(thread);
	return 0;
}

/**
 * ff_service_stop() - End the service
 * @ctx: context without queues, so no fault comes any more
 */
void ff_service_stop(struct ff_ctx *ctx)
{
	/*
	 * First, as it must not serve beside the thread; and for good, as the
	 * process may close its descriptors long after the driver was unbound.
	 */
	disable_work_sync(&ctx->service.retire);
	ff_service_stop_thread(ctx);
}

/**
 * ff_service_free() - Nobody closes a descriptor of the context any more
 * @ctx: context
 */
void ff_service_free(struct ff_ctx *ctx)
{
	put_pid(ctx->service.process);
}

/**
 * ff_service_wake() - A fault group is ready
 * @ctx: its context
 */
void ff_service_wake(struct ff_ctx *ctx)
{
	lockdep_assert_held(&ctx->ff->queue_lock);
	if (ctx->service.retired)
		schedule_work(&ctx->service.retire);
	else if (!ff_stall_skips(ctx->ff, FF_STALL_DRAINED))
		vhost_task_wake(ctx->service.thread);
}

/* Whether the calling process has no thread left that runs its program. */
static bool ff_process_ends(void)
{
	struct task_struct *thread;
	bool ends = true;

	if (!(current->flags & PF_EXITING))
		return false;
	rcu_read_lock();
	for_each_thread(current, thread)
		if (!(thread->flags & (PF_EXITING | PF_USER_WORKER)))
			ends = false;
	rcu_read_unlock();
	return ends;
}

/**
 * ff_service_flush() - A file descriptor of the context is closed
 * @ctx: context
 *
 * A thread that exits closes its descriptors after it has let go of the mm, so
 * the process is known by its ID.
 */
void ff_service_flush(struct ff_ctx *ctx)
{
	if (task_tgid(current) == ctx->service.process && ff_process_ends())
		ff_service_retire(ctx);
}
