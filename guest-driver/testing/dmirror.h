/* SPDX-License-Identifier: GPL-2.0-only */
/* The interface of the kernel's HMM selftest. */
#ifndef FF_DMIRROR_H
#define FF_DMIRROR_H

#include <linux/mutex.h>
#include <linux/types.h>

struct ff_ctx;
struct ff_device;
struct ff_queue;

/**
 * struct ff_dmirror_cmd - Argument of all ioctls, as lib/test_hmm_uapi.h has it
 * @addr: address on which the device works, page aligned
 * @ptr: address of what it is to write, or of where to put what it read
 * @npages: pages at @addr
 * @cpages: out: pages done
 * @faults: out: rounds of faults that it took
 */
struct ff_dmirror_cmd {
	__u64 addr;
	__u64 ptr;
	__u64 npages;
	__u64 cpages;
	__u64 faults;
};

/**
 * struct ff_dmirror - An open file: a mirror of the mm that opened it
 * @ctx: context
 * @lock: one command at a time; its place is in mirror/mirror.c
 * @queue: carries them out; NULL until it is needed, and after trouble
 * @doorbell: of @queue
 * @tail: of its ring
 * @fence: of the last command
 */
struct ff_dmirror {
	struct ff_ctx *ctx;
	struct mutex lock; /* what follows */
	struct ff_queue *queue;
	void __iomem *doorbell;
	u32 tail;
	u64 fence;
};

void ff_dmirror_copy_fini(struct ff_dmirror *dmirror);

int ff_dmirror_to_device(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd);
int ff_dmirror_to_system(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd);
int ff_dmirror_exclusive(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd);
int ff_dmirror_check_exclusive(struct ff_dmirror *dmirror,
			       struct ff_dmirror_cmd *cmd);
int ff_dmirror_evict(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd);
int ff_dmirror_flags(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd);

int ff_dmirror_read(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd);
int ff_dmirror_write(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd);

#endif /* FF_DMIRROR_H */
