// SPDX-License-Identifier: GPL-2.0-only
/*
 * The private memory of devices, of whatever drivers: hmm_range_fault() shows
 * pages of it only to who names their owner.
 */
#include <linux/ioport.h>
#include <linux/limits.h>
#include <linux/memremap.h>
#include <linux/pfn.h>
#include <linux/slab.h>

#include "file/private.h"

static int ff_private_add(struct resource *resource, void *arg)
{
	struct ff_private_region *regions;
	struct ff_private *private = arg;
	struct range pfns = {
		.start = PHYS_PFN(resource->start),
		.end = PHYS_PFN(resource->end),
	};
	struct dev_pagemap *pgmap;

	/* Not there yet, or on its way out. */
	pgmap = get_dev_pagemap(pfns.start);
	if (!pgmap)
		return 0;
	regions = krealloc_array(private->regions, private->nr + 1,
				 sizeof(*regions), GFP_KERNEL_ACCOUNT);
	if (regions) {
		regions[private->nr++] = (struct ff_private_region) {
			.pfns = pfns,
			.owner = pgmap->owner,
		};
		private->regions = regions;
	}
	put_dev_pagemap(pgmap);
	return regions ? 0 : -ENOMEM;
}

/**
 * ff_private_find() - Find all private memory that there is
 * @private: zeroed; ff_private_free() is due whatever comes of this
 *
 * Nothing found is kept from going away: owners are names, not to be followed.
 *
 * Return: 0 or -ENOMEM.
 */
int ff_private_find(struct ff_private *private)
{
	int ret;

	ret = walk_iomem_res_desc(IORES_DESC_DEVICE_PRIVATE_MEMORY, 0, 0,
				  U64_MAX, private, ff_private_add);
	/* -EINVAL: there is none. */
	return ret == -ENOMEM ? ret : 0;
}

void ff_private_free(struct ff_private *private)
{
	kfree(private->regions);
}

/* Is this the frame of a page of private memory? */
bool ff_private_has(const struct ff_private *private, unsigned long pfn)
{
	unsigned int i;

	for (i = 0; i < private->nr; i++)
		if (pfn >= private->regions[i].pfns.start &&
		    pfn <= private->regions[i].pfns.end)
			return true;
	return false;
}

/* Has no region before this one the same owner? */
bool ff_private_owner_is_new(const struct ff_private *private, unsigned int i)
{
	unsigned int k;

	for (k = 0; k < i; k++)
		if (private->regions[k].owner == private->regions[i].owner)
			return false;
	return true;
}
