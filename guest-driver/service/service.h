/* SPDX-License-Identifier: GPL-2.0-only */
/* Who serves the faults of a context, and how: from records to groups, batches, spans. */
#ifndef FF_SERVICE_H
#define FF_SERVICE_H

#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/workqueue.h>

#include "mirror/populate.h"
#include "service/queue.h"

struct ff_fault;
struct task_struct;
struct vhost_task;

/* What is remembered of what the device has accessed often. */
#define FF_OFTEN	32

/* Streams that are remembered: a command has two at most. */
#define FF_STREAMS	8

/**
 * struct ff_stream - Memory that a command goes through
 * @start: where what is not made present yet begins, page aligned
 * @stop: how far to make it present ahead; up to @start if there is nothing to do
 * @end: where the command ends
 * @write: for writing
 */
struct ff_stream {
	u64 start;
	u64 stop;
	u64 end;
	bool write;
};

/**
 * struct ff_service - The fault service of a context
 * @ff: device
 * @mirror: where pages are made present
 * @lock: orders what is done for the queues of the context against their
 *	end: whoever answers a fault of a queue or maps its doorbell holds it,
 *	and finds the queue gone or has it stay until he is done. Inside
 *	mmap_lock (doorbell fault), so never held when user memory is touched;
 *	outside of &struct ff_device.queue_lock.
 * @process: whose address space it is
 * @thread: of that process; NULL once it has been stopped. Under
 *	&struct ff_device.queue_lock
 * @retired: @thread serves no more; under &struct ff_device.queue_lock
 * @retire: stops @thread and refuses what comes from then on
 * @task: @thread itself, once it has run; under &struct ff_device.queue_lock
 * @closed: the file is; under &struct ff_device.queue_lock
 * @leaving: the program's last thread has ended; under &struct ff_device.queue_lock
 * @ending: bit 0 says that @end was set going
 * @end: what is to be done when @thread serves no more and the file is closed
 * @ends: where
 * @ready: &struct ff_queue with a whole group to serve, under
 *	&struct ff_device.queue_lock
 * @groups: queues whose groups are being served
 * @nr_groups: their number
 * @requests: of those groups
 * @nr_requests: how many there is room for
 * @interrupted: a signal came while they were served
 * @often: addresses of what the device has accessed often, under
 *	&struct ff_device.queue_lock
 * @nr_often: their number
 * @streams: to work ahead of
 * @turn: which of them is next
 * @scratch: for ff_populate()
 */
struct ff_service {
	struct ff_device *ff;
	struct ff_mirror *mirror;
	struct mutex lock; /* queues against their end */

	struct pid *process;
	struct vhost_task *thread;
	bool retired;
	struct work_struct retire;
	struct task_struct *task;
	bool closed;
	bool leaving;
	unsigned long ending;
	struct work_struct end;
	struct workqueue_struct *ends;

	struct list_head ready;
	struct ff_queue *groups[FF_QUEUES];
	unsigned int nr_groups;
	struct ff_request *requests;
	unsigned int nr_requests;
	bool interrupted;
	u64 often[FF_OFTEN];
	unsigned int nr_often;
	struct ff_stream streams[FF_STREAMS];
	unsigned int turn;
	struct ff_scratch *scratch;
};

int ff_service_init(struct ff_service *service, struct ff_device *ff,
		    struct ff_mirror *mirror, struct workqueue_struct *ends);
int ff_service_start(struct ff_service *service);
void ff_service_interrupt(struct ff_service *service);
void ff_service_close(struct ff_service *service);
void ff_service_stop(struct ff_service *service);
void ff_service_free(struct ff_service *service);
void ff_service_wake(struct ff_service *service);
void ff_service_flush(struct ff_service *service);

void ff_collect(struct ff_device *ff, const struct ff_fault *fault);
bool ff_batch_serve(struct ff_service *service);
void ff_ahead_note(struct ff_service *service, const struct ff_request *last);
bool ff_ahead_is_any(const struct ff_service *service);
void ff_often_note(struct ff_service *service, u64 address);
bool ff_often_serve(struct ff_service *service);
bool ff_ahead_serve(struct ff_service *service);
unsigned int ff_span_serve(struct ff_service *service,
			   struct ff_request *requests, unsigned int nr);
void ff_request_fail(struct ff_service *service, struct ff_request *request,
		     u8 wants, enum ff_cause cause);

#endif /* FF_SERVICE_H */
