/* SPDX-License-Identifier: GPL-2.0-only */
/* User-mode queues as the fault service knows them, each with its fault group. */
#ifndef FF_QUEUE_H
#define FF_QUEUE_H

#include <linux/cleanup.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/types.h>

#include "base/abi.h"

struct ff_device;
struct ff_service;

#define FF_ACCESS	(FF_ACCESS_READ | FF_ACCESS_WRITE | FF_ACCESS_ATOMIC)

/**
 * struct ff_request - A page that the device asks for
 * @address: of the page
 * @want: FF_ACCESS bits that some record asked for
 * @demand: those of them that a queue cannot go on without
 * @failed: those of the demand that could not be had
 * @cause: &enum ff_cause, why
 * @stream: FF_ACCESS bits that the pages behind this one will be asked for
 * @extent: number of those pages, as far as they lie in the same FF_SPAN_SIZE
 * @beyond: number of those behind that
 * @present_only: not to be faulted in, only taken if it is there
 */
struct ff_request {
	u64 address;
	u8 want;
	u8 demand;
	u8 failed;
	u8 cause;
	u8 stream;
	u16 extent;
	u32 beyond;
	bool present_only;
};

/**
 * struct ff_announcement - The user memory that commands to come will go through
 * @start: first address, page aligned
 * @end: end; equal to @start when the queue works on nothing
 * @write: for writing
 * @error: why some of it could not be had when it was last wanted, or 0
 * @rounds: fault groups answered
 *
 * All under &struct ff_device.queue_lock; see testing/announce.c.
 */
struct ff_announcement {
	unsigned long start;
	unsigned long end;
	bool write;
	int error;
	u64 rounds;
};

/**
 * enum ff_group_state - Where the fault group of a queue is
 * @FF_GROUP_COLLECTING: its records are being read, or there is none
 * @FF_GROUP_READY: all are there; in &struct ff_service.ready, or being served
 */
enum ff_group_state {
	FF_GROUP_COLLECTING,
	FF_GROUP_READY,
};

/**
 * struct ff_queue - A user-mode queue
 * @ref: one for &struct ff_device.queues, one for each user
 * @service: serves its faults; only valid while the queue is alive
 * @id: number
 * @alive: not destroyed yet; changed under the lock of the service
 * @halted: the device has halted it
 * @announcement: what it is about to want, for a queue of the driver's own
 * @state: of the group below, which is under &struct ff_device.queue_lock
 * @link: in &struct ff_service.ready until it is served
 * @group: number of the group
 * @demand: address that the queue cannot go on without
 * @refused: it can not be had, whatever the pages
 * @nr: requests in the group
 * @requests: what it asks for
 */
struct ff_queue {
	struct kref ref;
	struct ff_service *service;
	unsigned int id;
	bool alive;
	bool halted;
	struct ff_announcement announcement;

	enum ff_group_state state;
	struct list_head link;
	u32 group;
	u64 demand;
	bool refused;
	unsigned int nr;
	struct ff_request requests[];
};

struct ff_queue *ff_queue_alloc(struct ff_service *service);
int ff_queue_number(struct ff_queue *queue);
struct ff_queue *ff_queue_get(struct ff_service *service, u32 id);
void ff_queue_put(struct ff_queue *queue);
void ff_queue_forget(struct ff_queue *queue);
DEFINE_FREE(ff_queue, struct ff_queue *, if (_T) ff_queue_put(_T))

#endif /* FF_QUEUE_H */
