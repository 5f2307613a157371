/* SPDX-License-Identifier: GPL-2.0-only */
/* A context: what an open file stands for. */
#ifndef FF_CTX_H
#define FF_CTX_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/uidgid.h>
#include <linux/workqueue.h>

#include "file/pin.h"
#include "mirror/mirror.h"
#include "service/service.h"

struct address_space;
struct ff_resident;

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

struct ff_ctx *ff_ctx_create(struct ff_device *ff,
			     struct address_space *mapping);
int ff_ctx_bind(struct ff_ctx *ctx);
void ff_ctx_close(struct ff_ctx *ctx);
void ff_ctx_detach_all(struct ff_device *ff);
int ff_ctx_init(void);
void ff_ctx_exit(void);

#endif /* FF_CTX_H */
