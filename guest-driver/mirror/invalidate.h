/* SPDX-License-Identifier: GPL-2.0-only */
/* Invalidation: taking pages from the device. */
#ifndef FF_INVALIDATE_H
#define FF_INVALIDATE_H

#include <linux/mmu_notifier.h>
#include <linux/static_call.h>

#include "mirror/interval.h"
#include "mirror/mirror.h"

extern const struct mmu_interval_notifier_ops ff_mirror_ops;

/* Marks frames dirty that the device could write; a test leaves it out. */
typedef void (ff_mark_dirty_t)(unsigned long frame, unsigned long pages);
DECLARE_STATIC_CALL(ff_mark_dirty, ff_mark_dirty_t);

u64 ff_mirror_flush(struct ff_mirror *mirror, unsigned long start,
		    unsigned long length, bool may_sleep);
void ff_interval_zap(struct ff_interval *interval, unsigned long start,
		     unsigned long end, u64 keep, struct ff_gather *gather);
u64 ff_interval_flush(struct ff_interval *interval,
		      const struct ff_gather *gather, bool may_sleep);

#endif /* FF_INVALIDATE_H */
