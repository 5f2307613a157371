/* SPDX-License-Identifier: GPL-2.0-only */
/* Snapshots: how the CPU maps a range, without a fault. */
#ifndef FF_SNAPSHOT_H
#define FF_SNAPSHOT_H

#include <linux/types.h>

struct ff_ctx;
struct ff_mirror;

int ff_ioctl_snapshot(struct ff_ctx *ctx, void *arg);
int ff_snapshot_range(struct ff_mirror *mirror, unsigned long start,
		      unsigned long pages, u8 __user *bytes,
		      u8 (*judge)(struct ff_mirror *mirror,
				  unsigned long address, unsigned long pfn));

#endif /* FF_SNAPSHOT_H */
