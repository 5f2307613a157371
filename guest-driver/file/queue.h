/* SPDX-License-Identifier: GPL-2.0-only */
/* User-mode queues. */
#ifndef FF_QUEUE_H
#define FF_QUEUE_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/types.h>

#include "base/abi.h"
#include "testing/ahead.h"

struct ff_ctx;
struct ff_device;
struct vm_area_struct;

/**
 * enum ff_group_state - Where the fault group of a queue is
 * @FF_GROUP_COLLECTING: its records are being read, or there is none
 * @FF_GROUP_READY: all are there; in &struct ff_ctx.ready, or being served
 */
enum ff_group_state {
	FF_GROUP_COLLECTING,
	FF_GROUP_READY,
};

/**
 * struct ff_queue - A user-mode queue
 * @ref: one for &struct ff_device.queues, one for each user
 * @ctx: context; only valid while the queue is alive
 * @id: number
 * @alive: not destroyed yet; changed under the lock of the context
 * @halted: the device has halted it
 * @ahead: what it is about to want, for a queue of the driver's own
 * @state: of the group below, which is under &struct ff_device.queue_lock
 * @link: in &struct ff_ctx.ready until it is served
 * @group: number of the group
 * @demand: address that the queue cannot go on without
 * @refused: it can not be had, whatever the pages
 * @nr: requests in the group
 * @requests: what it asks for
 */
struct ff_queue {
	struct kref ref;
	struct ff_ctx *ctx;
	unsigned int id;
	bool alive;
	bool halted;
	struct ff_ahead ahead;

	enum ff_group_state state;
	struct list_head link;
	u32 group;
	u64 demand;
	bool refused;
	unsigned int nr;
	struct ff_request requests[];
};

struct ff_queue *ff_queue_start(struct ff_ctx *ctx, u64 ring, u32 entries);
int ff_queue_state(const struct ff_queue *queue);
void ff_queue_stop(struct ff_queue *queue);
void ff_queue_put(struct ff_queue *queue);
void ff_queues_destroy(struct ff_ctx *ctx);

int ff_queue_create(struct ff_ctx *ctx, void *arg);
int ff_queue_destroy(struct ff_ctx *ctx, void *arg);
int ff_queue_wait(struct ff_ctx *ctx, void *arg);
int ff_doorbell_mmap(struct ff_ctx *ctx, struct vm_area_struct *vma);

#endif /* FF_QUEUE_H */
