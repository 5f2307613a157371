/* SPDX-License-Identifier: GPL-2.0-only */
/* Intervals: pieces of the address space that a mirror follows. */
#ifndef FF_INTERVAL_H
#define FF_INTERVAL_H

#include <linux/mmu_notifier.h>
#include <linux/types.h>

#include "pgtable/dma.h"

struct ff_mirror;

/**
 * struct ff_interval - A notifier and what belongs to it
 * @notifier: registered as long as the interval is in &struct ff_mirror.intervals, and
 *	then the only one for its addresses
 * @mirror: whose interval it is
 * @dma: where its leaves are for the IOMMU
 * @flush: fence of the last flush posted for an address in the interval, under
 *	mirror->lock; who finds an entry already gone waits for it
 * @finishing: bit 0 says that the members below are in use. Invalidations run
 *	side by side, but it is not worth more than one slot: the others wait
 *	at once instead of in the second pass.
 * @finish: for the second pass
 * @section: of ff_device_enter(), from the first pass to the second
 * @start: where what was invalidated begins
 * @end: where it ends
 * @fence: what the second pass waits for
 * @tables: what it frees then
 */
struct ff_interval {
	struct mmu_interval_notifier notifier;
	struct ff_mirror *mirror;
	struct ff_dma_space dma;
	u64 flush;
	unsigned long finishing;
	struct mmu_interval_notifier_finish finish;
	int section;
	unsigned long start;
	unsigned long end;
	u64 fence;
	struct list_head tables;
};

static inline unsigned long
ff_interval_start(const struct ff_interval *interval)
{
	return interval->notifier.interval_tree.start;
}

static inline unsigned long
ff_interval_end(const struct ff_interval *interval)
{
	return interval->notifier.interval_tree.last + 1;
}

extern const struct mmu_interval_notifier_ops *ff_interval_ops;

struct ff_interval *ff_interval_get(struct ff_mirror *mirror,
				    unsigned long address);

#endif /* FF_INTERVAL_H */
