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
#include <linux/slab.h>

#include "base/upward.h"
#include "hw/device.h"
#include "mirror/populate.h"
#include "service/batch.h"
#include "service/queue.h"
#include "service/service.h"

/* Requests of one batch; more would make the first queue wait for the last. */
#define FF_BATCH	1024U

/**
 * ff_service_init() - Prepare to serve a mirror
 * @service: zeroed
 * @ff: device
 * @mirror: mirror that will be open before the first fault
 *
 * Return: 0 or -ENOMEM.
 */
int ff_service_init(struct ff_service *service, struct ff_device *ff,
		    struct ff_mirror *mirror)
{
	service->ff = ff;
	service->mirror = mirror;
	mutex_init(&service->lock);
	INIT_LIST_HEAD(&service->ready);
	service->nr_requests = max(FF_BATCH, ff->window);
	service->requests = kvmalloc_objs(struct ff_request,
					  service->nr_requests,
					  GFP_KERNEL_ACCOUNT);
	service->scratch = ff_scratch_alloc();
	if (service->requests && service->scratch)
		return 0;
	ff_service_free(service);
	return -ENOMEM;
}

/* What the thread calls before it sleeps; true if it is to call again. */
static bool ff_service_work(void *arg)
{
	struct ff_service *service = arg;
	bool waiting;

	spin_lock(&service->ff->queue_lock);
	waiting = !list_empty(&service->ready);
	spin_unlock(&service->ff->queue_lock);
	if (!waiting)
		return false;
	__set_current_state(TASK_RUNNING);
	static_call_cond(ff_up_reached)(service->mirror, FF_STAGE_READY);
	return ff_batch_serve(service);
}

/* Called in the thread as the last thing if it was killed. */
static void ff_service_retire(void *arg)
{
	struct ff_service *service = arg;

	spin_lock(&service->ff->queue_lock);
	service->retired = true;
	schedule_work(&service->retire);
	spin_unlock(&service->ff->queue_lock);
}

/* vhost_task_stop() frees, so whoever takes the pointer out calls it. */
static void ff_service_stop_thread(struct ff_service *service)
{
	struct vhost_task *thread;

	spin_lock(&service->ff->queue_lock);
	thread = service->thread;
	service->thread = NULL;
	service->retired = true;
	spin_unlock(&service->ff->queue_lock);
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

/**
 * ff_service_start() - Begin to serve the calling process
 * @service: prepared; the device does not know its context yet
 *
 * Return: 0, -ENOMEM, -EAGAIN if the process may have no more threads.
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

/**
 * ff_service_stop() - End the service
 * @service: service without queues, so no fault comes any more
 */
void ff_service_stop(struct ff_service *service)
{
	/*
	 * First, as it must not serve beside the thread; and for good, as the
	 * process may close its descriptors long after the driver was unbound.
	 */
	disable_work_sync(&service->retire);
	ff_service_stop_thread(service);
}

/**
 * ff_service_free() - Free what a service keeps
 * @service: stopped or never started; nobody closes a descriptor of it any more
 */
void ff_service_free(struct ff_service *service)
{
	put_pid(service->process);
	kvfree(service->requests);
	kfree(service->scratch);
}

/**
 * ff_service_wake() - A fault group is ready
 * @service: of its context
 */
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
 * @service: service
 *
 * A thread that exits closes its descriptors after it has let go of the mm, so
 * the process is known by its ID.
 */
void ff_service_flush(struct ff_service *service)
{
	if (task_tgid(current) == service->process && ff_process_ends())
		ff_service_retire(service);
}
