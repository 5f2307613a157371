/* SPDX-License-Identifier: GPL-2.0-only */
/* The mirror: the device page table of one mm, and what keeps it true. */
#ifndef FF_MIRROR_H
#define FF_MIRROR_H

#include <linux/hmm.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>

#include "mirror/thrash.h"
#include "pgtable/pgtable.h"

struct ff_device;
struct ff_interval;
struct ff_region;

/**
 * struct ff_mirror - A device page table that follows an mm
 * @ff: device
 * @mm: held by mmgrab(); its users come and go
 * @region: device memory that its pages can be in, or NULL
 * @pasid: name of the page table for the device
 * @lock: see "Locks" in mirror/mirror.c
 * @pgt: page table, under @lock
 * @spares: tables to map with, under @lock
 * @unlinked: tables that nobody could wait to free, under @lock
 * @intervals: &struct ff_interval by address; they are only added until the end
 * @adding: held while one is
 * @prefer: ranges of which it is said whether they are to be in @region, see
 *	mirror/prefer.c
 * @thrash: what was moved there of late
 * @counting: the device is to count accesses
 * @closing: nothing more is mapped once it is set under @lock; who retries gives up
 */
struct ff_mirror {
	struct ff_device *ff;
	struct mm_struct *mm;
	struct ff_region *region;
	u32 pasid;
	struct mutex lock; /* pgt; taken in notifiers */
	struct ff_pgtable pgt;
	struct list_head spares;
	struct list_head unlinked;
	struct maple_tree intervals;
	struct maple_tree prefer;
	struct ff_thrash thrash;
	bool counting;
	struct mutex adding; /* intervals and their notifiers */
	bool closing;
};

int ff_mirror_follow(struct ff_mirror *mirror);
int ff_mirror_open(struct ff_mirror *mirror, struct ff_device *ff);
void ff_mirror_detach(struct ff_mirror *mirror);
void ff_mirror_close(struct ff_mirror *mirror);

int ff_mirror_lock_to_map(struct ff_mirror *mirror);
bool ff_mirror_reap_passed(struct ff_mirror *mirror,
			   struct ff_interval *interval, unsigned long start,
			   unsigned long end, struct list_head *tables);
void ff_mirror_drop(struct ff_mirror *mirror, unsigned long start,
		    unsigned long end);

#endif /* FF_MIRROR_H */
