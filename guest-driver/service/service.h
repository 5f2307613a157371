/* SPDX-License-Identifier: GPL-2.0-only */
/* Who serves the faults of a context. */
#ifndef FF_SERVICE_H
#define FF_SERVICE_H

#include <linux/pid.h>
#include <linux/workqueue.h>

struct ff_ctx;
struct vhost_task;

/**
 * struct ff_service - The service of a context
 * @process: whose address space it is
 * @thread: of that process; NULL once it has been stopped. Under
 *	&struct ff_device.queue_lock
 * @retired: @thread serves no more; under &struct ff_device.queue_lock
 * @retire: stops @thread and refuses what comes from then on
 */
struct ff_service {
	struct pid *process;
	struct vhost_task *thread;
	bool retired;
	struct work_struct retire;
};

int ff_service_start(struct ff_ctx *ctx);
void ff_service_stop(struct ff_ctx *ctx);
void ff_service_free(struct ff_ctx *ctx);
void ff_service_wake(struct ff_ctx *ctx);
void ff_service_flush(struct ff_ctx *ctx);

#endif /* FF_SERVICE_H */
