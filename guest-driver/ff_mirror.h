/* SPDX-License-Identifier: GPL-2.0-only */
/* The mirror: the device page table of one mm, and what keeps it true. */
#ifndef FF_MIRROR_H
#define FF_MIRROR_H

#include <linux/hmm.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>

#include "ff_pgtable.h"

struct ff_device;

/**
 * struct ff_mirror - A device page table that follows an mm
 * @ff: device
 * @mm: held by mmgrab(); its users come and go
 * @pasid: name of the page table for the device
 * @lock: see the top of ff_mirror.c
 * @pgt: page table, under @lock
 * @windows: &struct ff_window by address; they are only added until the end
 * @closing: nothing more is to be mapped; who retries gives up
 */
struct ff_mirror {
	struct ff_device *ff;
	struct mm_struct *mm;
	u32 pasid;
	struct mutex lock; /* pgt; taken in notifiers */
	struct ff_pgtable pgt;
	struct maple_tree windows;
	bool closing;
};

/**
 * struct ff_window - A notifier and what belongs to it
 * @notifier: registered as long as the window is in &struct ff_mirror.windows
 * @mirror: whose window it is
 * @flush: fence of the last flush posted for an address in the window, under
 *	mirror->lock; who finds an entry already gone waits for it
 * @finishing: bit 0 says that the members below are in use. Invalidations run
 *	side by side, but it is not worth more than one slot: the others wait
 *	at once instead of in the second pass.
 * @finish: for the second pass
 * @start: where what was invalidated begins
 * @end: where it ends
 * @fence: what the second pass waits for
 * @tables: what it frees then
 */
struct ff_window {
	struct mmu_interval_notifier notifier;
	struct ff_mirror *mirror;
	u64 flush;
	unsigned long finishing;
	struct mmu_interval_notifier_finish finish;
	unsigned long start;
	unsigned long end;
	u64 fence;
	struct list_head tables;
};

static inline unsigned long ff_window_start(const struct ff_window *window)
{
	return window->notifier.interval_tree.start;
}

static inline unsigned long ff_window_end(const struct ff_window *window)
{
	return window->notifier.interval_tree.last + 1;
}

struct ff_window *ff_window_get(struct ff_mirror *mirror,
				unsigned long address);

int ff_mirror_open(struct ff_mirror *mirror, struct ff_device *ff,
		   struct mm_struct *mm);
void ff_mirror_close(struct ff_mirror *mirror);

u64 ff_mirror_flush(struct ff_mirror *mirror, unsigned long start,
		    unsigned long length);
bool ff_mirror_reap_passed(struct ff_mirror *mirror,
			   const struct ff_window *window, unsigned long start,
			   unsigned long end, struct list_head *tables);
void ff_mirror_drop(struct ff_mirror *mirror, unsigned long start,
		    unsigned long end);

#endif /* FF_MIRROR_H */
