// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who serves the faults of a context.
 *
 * It is a thread of the process itself, one that never leaves the kernel, as
 * vhost's are. A kernel thread or a work item that borrows the mm was tried beside
 * it (7.2, cgroup v2), and decided against:
 *
 *  - A process is killed whose device waits for a page that nobody brings. The
 *    thread dies with it, and its memory is free. A borrowed mm keeps all of it, 100
 *    MiB of 100, for as long as the wait lasts, and nobody is left to kill for it.
 *  - The device fills more than memory.max allows. In the thread the charge ends
 *    when the process is picked: one process killed, and the fault is answered. A
 *    kernel thread goes on charging memory to a process that is dead and that it
 *    keeps from being freed: a second, innocent process was killed each time.
 *  - Page tables, page cache, CPU time, I/O and memory policy are those of the
 *    process, without a list of what a kernel thread has to borrow as well.
 *
 * For this the process pays. It has one thread more from the first ioctl on
 * (opening makes none), so it can enter no user or time namespace after that. And
 * what waits here has to be fit for signals: a wait for a page ends when one comes,
 * the thread stops, freezes or dies in get_signal() as any other, and the batch
 * begins anew (see ff_fault_in()). Tracers and core dumps leave such threads out.
 *
 * The process does not end as long as it has a thread. A signal that ends it ends
 * this thread, too, and so do exit_group() and exec. But if all threads of the
 * program call plain exit(), nobody tells this one, and its mm has the doorbell
 * mapped, which keeps the file open. What such a program does do is to close its
 * file descriptors: ff_service_flush() looks there, and tells it to leave. If it has
 * closed the device's before, while a doorbell was still mapped, nothing tells: see
 * the limits in README.md.
 *
 * Nobody waits for this thread who does not hold its process: it may be waiting for a
 * page. When the file is closed, or the process ends, it is told, and sets the end of
 * the context, or its own, going when it next runs.
 *
 * Faults that come without a process (the file can outlive it in another one,
 * or across exec) are refused by a work item.
 */
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/slab.h>

#include "base/upward.h"
#include "hw/device.h"
#include "service/service.h"

/* Requests of one batch; more would make the first queue wait for the last. */
#define FF_BATCH	1024U

/* The end of the service is to be carried out on @ends. */
int ff_service_init(struct ff_service *service, struct ff_device *ff,
		    struct ff_mirror *mirror, struct workqueue_struct *ends)
{
	service->ff = ff;
	service->ends = ends;
	service->mirror = mirror;
	mutex_init(&service->lock);
	INIT_LIST_HEAD(&service->ready);
	service->nr_requests = max(FF_BATCH, ff->lookahead);
	service->requests = kvmalloc_objs(struct ff_request,
					  service->nr_requests,
					  GFP_KERNEL_ACCOUNT);
	service->scratch = ff_scratch_alloc();
	if (service->requests && service->scratch)
		return 0;
	ff_service_free(service);
	return -ENOMEM;
}

/* Nobody but the end needs the service any more. */
static void ff_service_end(struct ff_service *service)
{
	if (!test_and_set_bit(0, &service->ending))
		queue_work(service->ends, &service->end);
}

/* What the thread calls before it sleeps; true if it is to call again. */
static bool ff_service_work(void *arg)
{
	struct ff_service *service = arg;
	bool closed, leaving, waiting, often;

	scoped_guard(spinlock, &service->ff->queue_lock) {
		service->task = current;
		closed = service->closed;
		leaving = service->leaving;
		waiting = !list_empty(&service->ready);
		often = service->nr_often;
	}
	if (closed)
		ff_service_end(service);
	else if (leaving)
		schedule_work(&service->retire);
	if (closed || leaving)
		return false;
	if (!waiting && !often && !ff_ahead_is_any(service))
		return false;
	__set_current_state(TASK_RUNNING);
	if (!waiting)
		return ff_often_serve(service) || ff_ahead_serve(service);
	static_call_cond(ff_up_reached)(service->mirror, FF_STAGE_READY);
	return ff_batch_serve(service);
}

/* Called in the thread as the last thing if it was killed. */
static void ff_service_retire(void *arg)
{
	struct ff_service *service = arg;

	guard(spinlock)(&service->ff->queue_lock);
	service->retired = true;
	if (service->closed)
		ff_service_end(service);
	else
		schedule_work(&service->retire);
}

/* vhost_task_stop() frees, so whoever takes the pointer out calls it. */
static void ff_service_stop_thread(struct ff_service *service)
{
	struct vhost_task *thread;

	scoped_guard(spinlock, &service->ff->queue_lock) {
		thread = service->thread;
		service->thread = NULL;
		service->retired = true;
	}
	if (thread)
		vhost_task_stop(thread);
}

static void ff_service_refuse(struct work_struct *work)
{
	struct ff_service *service =
		container_of(work, struct ff_service, retire);

	ff_service_stop_thread(service);
	while (ff_batch_serve(service))
		;
}

/*
 * Begins to serve the calling process, whose context the device does not know yet.
 * -ENOMEM, or -EAGAIN if the process may have no more threads.
 */
int ff_service_start(struct ff_service *service)
{
	struct vhost_task *thread;

	INIT_WORK(&service->retire, ff_service_refuse);
	thread = vhost_task_create(ff_service_work, ff_service_retire, service,
				   service->ff->name);
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	service->process = get_pid(task_tgid(current));
	service->thread = thread;
	vhost_task_start(thread);
	return 0;
}

/*
 * Ends the waiting for a page, as nobody wants it any more. As task_work_add() with
 * TWA_SIGNAL would, which is not exported.
 */
void ff_service_interrupt(struct ff_service *service)
{
	guard(spinlock)(&service->ff->queue_lock);
	if (!service->thread || service->retired)
		return;
	if (service->task)
		set_tsk_thread_flag(service->task, TIF_NOTIFY_SIGNAL);
	vhost_task_wake(service->thread);
}

/* The file is closed. Waits for nobody. */
void ff_service_close(struct ff_service *service)
{
	bool serves;

	scoped_guard(spinlock, &service->ff->queue_lock) {
		service->closed = true;
		serves = service->thread && !service->retired;
	}
	if (serves)
		ff_service_interrupt(service);
	else
		ff_service_end(service);
}

/* Ends a service whose end was set going. */
void ff_service_stop(struct ff_service *service)
{
	/*
	 * First, as it must not serve beside the thread; and for good, as the
	 * process may close its descriptors long after the driver was unbound.
	 */
	disable_work_sync(&service->retire);
	ff_service_stop_thread(service);
}

/* It is stopped or was never started; nobody closes a descriptor of it any more. */
void ff_service_free(struct ff_service *service)
{
	put_pid(service->process);
	kvfree(service->requests);
	kfree(service->scratch);
	service->process = NULL;
	service->requests = NULL;
	service->scratch = NULL;
}

/* A fault group is ready. */
void ff_service_wake(struct ff_service *service)
{
	lockdep_assert_held(&service->ff->queue_lock);
	if (service->retired)
		schedule_work(&service->retire);
	else if (!static_call(ff_up_skips)(service->ff, FF_STAGE_DRAINED))
		vhost_task_wake(service->thread);
}

/* Whether the calling process has no thread left that runs its program. */
static bool ff_process_ends(void)
{
	struct task_struct *thread;

	if (!(current->flags & PF_EXITING))
		return false;
	guard(rcu)();
	for_each_thread(current, thread)
		if (!(thread->flags & (PF_EXITING | PF_USER_WORKER)))
			return false;
	return true;
}

/*
 * A file descriptor of the context is closed. A thread that exits does so after it has
 * let go of the mm, so the process is known by its ID.
 */
void ff_service_flush(struct ff_service *service)
{
	if (task_tgid(current) != service->process || !ff_process_ends())
		return;
	scoped_guard(spinlock, &service->ff->queue_lock)
		service->leaving = true;
	ff_service_interrupt(service);
}
