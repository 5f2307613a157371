// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that go to device memory and come back, over and over.
 *
 * CPU and device use them in turn, or there is no room for them. After some moves in a row,
 * each soon after the one before, they are left in system memory for a while, where both
 * can use them; and as the device has them mapped then, it does not even fault.
 */
#include <linux/hash.h>
#include <linux/jiffies.h>

#include "mirror/thrash.h"

/* What is moved again within this time was of no use where it was. */
#define FF_THRASH_SOON		(2 * HZ)
/* So many times in a row are too many. */
#define FF_THRASH_STREAK	3
/* How long it is left in place then. */
#define FF_THRASH_REST		(10 * HZ)

void ff_thrash_init(struct ff_thrash *thrash)
{
	spin_lock_init(&thrash->lock);
}

static struct ff_thrash_entry *ff_thrash_entry(struct ff_thrash *thrash,
					       unsigned long start)
{
	lockdep_assert_held(&thrash->lock);
	return &thrash->entries[hash_long(start >> PAGE_SHIFT,
					  ilog2(FF_THRASH_ENTRIES))];
}

/* Whether what begins at @start is left where it is. */
bool ff_thrash_rests(struct ff_thrash *thrash, unsigned long start)
{
	struct ff_thrash_entry *entry;

	guard(spinlock)(&thrash->lock);
	entry = ff_thrash_entry(thrash, start);
	if (entry->start != start || entry->streak < FF_THRASH_STREAK)
		return false;
	if (time_before(jiffies, entry->last + FF_THRASH_REST))
		return true;
	entry->streak = 0;
	return false;
}

/* What begins at @start was moved to device memory. */
void ff_thrash_moved(struct ff_thrash *thrash, unsigned long start)
{
	struct ff_thrash_entry *entry;

	guard(spinlock)(&thrash->lock);
	entry = ff_thrash_entry(thrash, start);
	if (entry->start == start &&
	    time_before(jiffies, entry->last + FF_THRASH_SOON))
		entry->streak++;
	else
		entry->streak = 0;
	entry->start = start;
	entry->last = jiffies;
}
