/* SPDX-License-Identifier: GPL-2.0-only */
/* A context: what an open file stands for, and what can be done with it. */
#ifndef FF_CTX_H
#define FF_CTX_H

#include <linux/kref.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/uidgid.h>
#include <linux/workqueue.h>

#include "base/counters.h"
#include "mirror/mirror.h"
#include "service/service.h"

struct address_space;
struct file_operations;
struct ff_migrate;
struct ff_queue;
struct ff_region;
struct ff_resident;
struct ff_scratch;
struct ff_span;
struct vm_area_struct;

/**
 * struct ff_pins - The registered buffers of a context
 * @lock: held while one is entered in the device's page table, or taken out
 * @tree: &struct ff_pin by slots of 2 MiB of device addresses
 */
struct ff_pins {
	struct mutex lock; /* tree, and what it says of the page table */
	struct maple_tree tree;
};

/**
 * struct ff_ctx - One PASID, one mirror of the mm that opened the file
 * @ref: one for the file, later for the end of @service
 * @ff: device
 * @uid: user who opened the file
 * @mirror: device page table; has the PASID and the mm
 * @service: serves its faults
 * @mapping: where doorbell mappings are found; NULL once the file is closed
 * @resident: memory of the driver's own in the page table, or NULL
 * @pins: buffers that are registered
 * @state: orders what follows
 * @bound: the device has known it; see ff_ctx_bind()
 * @detached: the device knows nothing of it any more
 * @detach: has the device forget it; set going when the file is closed
 */
struct ff_ctx {
	struct kref ref;
	struct ff_device *ff;
	kuid_t uid;
	struct ff_mirror mirror;
	struct ff_service service;
	struct address_space *mapping;
	struct ff_resident *resident;
	struct ff_pins pins;
	struct mutex state; /* bound, detached */
	bool bound;
	bool detached;
	struct work_struct detach;
};

struct ff_ctx *ff_ctx_create(struct ff_device *ff, struct ff_region *region,
			     struct address_space *mapping);
int ff_ctx_bind(struct ff_ctx *ctx);
void ff_ctx_close(struct ff_ctx *ctx);
void ff_ctx_detach_all(struct ff_device *ff);
void ff_ctx_drop_all(struct ff_device *ff);
int ff_ctx_init(void);
void ff_ctx_exit(void);

int ff_quota_context(const struct ff_ctx *ctx);
int ff_quota_queue(const struct ff_ctx *ctx);

struct ff_queue *ff_queue_start(struct ff_ctx *ctx, u64 ring, u32 entries);
int ff_queue_state(const struct ff_queue *queue);
void ff_queue_stop(struct ff_ctx *ctx, struct ff_queue *queue);
void ff_queues_destroy(struct ff_ctx *ctx);
void ff_queues_lose(struct ff_device *ff);
int ff_doorbell_mmap(struct ff_ctx *ctx, struct vm_area_struct *vma);

void ff_pins_init(struct ff_pins *pins);
void ff_pins_release(struct ff_ctx *ctx);

int ff_prefetch_range(struct ff_ctx *ctx, struct ff_span *span,
		      unsigned long end, struct ff_scratch *scratch);
int ff_look_at(struct ff_mirror *mirror, unsigned long start,
	       unsigned long pages, unsigned long *pfns);
int ff_snapshot_range(struct ff_mirror *mirror, unsigned long start,
		      unsigned long pages, u8 __user *bytes,
		      u8 (*judge)(struct ff_mirror *mirror,
				  unsigned long address, unsigned long pfn));
int ff_migrate_range(struct ff_ctx *ctx, struct ff_migrate *migrate,
		     enum ff_counter cause);

extern const struct file_operations ff_fops;
int ff_ioctl_advise(struct ff_ctx *ctx, void *arg);
int ff_ioctl_migrate(struct ff_ctx *ctx, void *arg);
int ff_ioctl_prefetch(struct ff_ctx *ctx, void *arg);
int ff_ioctl_queue_create(struct ff_ctx *ctx, void *arg);
int ff_ioctl_queue_destroy(struct ff_ctx *ctx, void *arg);
int ff_ioctl_register(struct ff_ctx *ctx, void *arg);
int ff_ioctl_snapshot(struct ff_ctx *ctx, void *arg);
int ff_ioctl_unregister(struct ff_ctx *ctx, void *arg);
int ff_ioctl_wait(struct ff_ctx *ctx, void *arg);

#endif /* FF_CTX_H */
