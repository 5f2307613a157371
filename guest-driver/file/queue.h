/* SPDX-License-Identifier: GPL-2.0-only */
/* User-mode queues: create, destroy, wait, and the doorbell page. */
#ifndef FF_QUEUE_IOCTL_H
#define FF_QUEUE_IOCTL_H

#include "service/queue.h"

struct ff_ctx;
struct vm_area_struct;

struct ff_queue *ff_queue_start(struct ff_ctx *ctx, u64 ring, u32 entries);
int ff_queue_state(const struct ff_queue *queue);
void ff_queue_stop(struct ff_ctx *ctx, struct ff_queue *queue);
void ff_queues_destroy(struct ff_ctx *ctx);
void ff_queues_lose(struct ff_device *ff);

int ff_ioctl_queue_create(struct ff_ctx *ctx, void *arg);
int ff_ioctl_queue_destroy(struct ff_ctx *ctx, void *arg);
int ff_ioctl_wait(struct ff_ctx *ctx, void *arg);
int ff_doorbell_mmap(struct ff_ctx *ctx, struct vm_area_struct *vma);

#endif /* FF_QUEUE_IOCTL_H */
