// SPDX-License-Identifier: GPL-2.0-only
/*
 * Migrations of the selftest. Its nodes have a part of the device's memory each, so
 * that to one what is in the other's is somebody else's.
 */
#include <linux/minmax.h>
#include <linux/mm.h>

#include "file/ctx.h"
#include "hw/device.h"
#include "memory/move.h"
#include "testing/dmirror.h"

/* How often to ask for pages that do not move. */
#define FF_DMIRROR_TRIES	4

/* FF_DMIRROR_FLAGS: the next large page is refused. */
#define FF_DMIRROR_FAIL_ALLOC	BIT(0)

static int ff_dmirror_move(struct ff_dmirror *dmirror,
			   struct ff_dmirror_cmd *cmd, u32 target,
			   enum ff_counter cause)
{
	struct ff_migrate migrate = {
		.address = cmd->addr,
		.length = cmd->npages << PAGE_SHIFT,
		.target = target,
	};
	int ret;

	if (!dmirror->ctx->mirror.region)
		return -EOPNOTSUPP;
	ret = ff_migrate_range(dmirror->ctx, &migrate, cause);
	cmd->cpages = migrate.moved;
	return ret == -EFAULT || ret == -EOPNOTSUPP ? -EINVAL : ret;
}

/* Whether all pages of a range are in the memory of the node. */
static int ff_dmirror_is_there(struct ff_mirror *mirror, unsigned long address,
			       unsigned long pages)
{
	struct ff_scratch *scratch __free(kfree) = ff_scratch_alloc();
	unsigned long i, nr;
	int ret;

	if (!scratch)
		return -ENOMEM;
	for (; pages; pages -= nr, address += nr << PAGE_SHIFT) {
		nr = min(pages, FF_SPAN_PAGES);
		ret = ff_look_at(mirror, address, nr, scratch->pfns);
		if (ret)
			return ret;
		for (i = 0; i < nr; i++)
			if (!(scratch->pfns[i] & HMM_PFN_VALID) ||
			    !ff_region_has(mirror->region,
					   scratch->pfns[i] & ~HMM_PFN_FLAGS))
				return -ENOENT;
	}
	return 0;
}

/* Has the device know where they are, to spare it the faults. */
static int ff_dmirror_present(struct ff_dmirror *dmirror,
			      const struct ff_dmirror_cmd *cmd)
{
	unsigned long end = cmd->addr + (cmd->npages << PAGE_SHIFT);
	struct ff_span span = {
		.start = cmd->addr,
		.request = HMM_PFN_REQ_FAULT,
		.prefetch = true,
	};
	struct ff_scratch *scratch __free(kfree) = ff_scratch_alloc();

	return scratch ? ff_prefetch_range(dmirror->ctx, &span, end, scratch) :
		-ENOMEM;
}

/*
 * FF_DMIRROR_TO_DEVICE: all of it, and what the device then finds there. mm does not
 * wait for a page that somebody else holds just then.
 */
int ff_dmirror_to_device(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	unsigned int tries;
	int ret = -ENOENT;

	for (tries = 0; ret == -ENOENT && tries < FF_DMIRROR_TRIES; tries++) {
		ret = ff_dmirror_move(dmirror, cmd, FF_MIGRATE_DEVICE,
				      FF_COUNT_MOVED_OUT);
		if (!ret && cmd->cpages < cmd->npages)
			ret = ff_dmirror_is_there(&dmirror->ctx->mirror,
						  cmd->addr, cmd->npages);
	}
	return ret ?: ff_dmirror_present(dmirror, cmd) ?:
		ff_dmirror_read(dmirror, cmd);
}

/* FF_DMIRROR_TO_SYSTEM */
int ff_dmirror_to_system(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	return ff_dmirror_move(dmirror, cmd, FF_MIGRATE_SYSTEM,
			       FF_COUNT_MOVED_BACK);
}

/* FF_DMIRROR_EVICT: all that is in the memory of the node, whose ever it is. */
int ff_dmirror_evict(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	struct ff_region *region = dmirror->ctx->mirror.region;

	if (!region)
		return -EOPNOTSUPP;
	ff_evict_all(region);
	return 0;
}

/* FF_DMIRROR_FLAGS */
int ff_dmirror_flags(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	struct ff_region *region = dmirror->ctx->mirror.region;

	if (!region)
		return -EOPNOTSUPP;
	WRITE_ONCE(region->fail_large, cmd->npages & FF_DMIRROR_FAIL_ALLOC);
	return 0;
}
