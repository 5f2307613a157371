/* SPDX-License-Identifier: GPL-2.0-only */
/* The private memory of devices, of whatever drivers. */
#ifndef FF_PRIVATE_H
#define FF_PRIVATE_H

#include <linux/range.h>
#include <linux/types.h>

/**
 * struct ff_private - Where devices have private memory
 * @regions: page frames of each, and who owns them
 * @nr: number of @regions
 */
struct ff_private {
	struct ff_private_region {
		struct range pfns;
		void *owner;
	} *regions;
	unsigned int nr;
};

int ff_private_find(struct ff_private *private);
void ff_private_free(struct ff_private *private);
bool ff_private_has(const struct ff_private *private, unsigned long pfn);
bool ff_private_owner_is_new(const struct ff_private *private, unsigned int i);

#endif /* FF_PRIVATE_H */
