/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages that go to device memory and come back, over and over. */
#ifndef FF_THRASH_H
#define FF_THRASH_H

#include <linux/spinlock.h>
#include <linux/types.h>

#define FF_THRASH_ENTRIES	64

/**
 * struct ff_thrash_entry - A range that was moved
 * @start: its first address
 * @last: jiffies when it was
 * @streak: how often that was soon after the time before
 */
struct ff_thrash_entry {
	unsigned long start;
	unsigned long last;
	unsigned int streak;
};

/**
 * struct ff_thrash - What was moved of late
 * @lock: protects the entries; nothing is inside
 * @entries: by a hash of the address; who comes later takes the place
 */
struct ff_thrash {
	spinlock_t lock; /* entries */
	struct ff_thrash_entry entries[FF_THRASH_ENTRIES];
};

void ff_thrash_init(struct ff_thrash *thrash);
bool ff_thrash_rests(struct ff_thrash *thrash, unsigned long start);
void ff_thrash_moved(struct ff_thrash *thrash, unsigned long start);

#endif /* FF_THRASH_H */
