// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exclusive access as the selftest asks for it.
 */
#include <linux/slab.h>

#include "file/ctx.h"
#include "mirror/exclusive.h"
#include "testing/dmirror.h"

/* FF_DMIRROR_EXCLUSIVE: all of a range, and what the device then finds there. */
int ff_dmirror_exclusive(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	struct ff_scratch *scratch __free(kfree) = ff_scratch_alloc();
	unsigned long i;
	int ret;

	if (!scratch)
		return -ENOMEM;
	for (i = 0; i < cmd->npages; i++) {
		ret = ff_exclusive_take(&dmirror->ctx->mirror,
					cmd->addr + (i << PAGE_SHIFT), scratch);
		if (ret)
			return ret;
		cond_resched();
	}
	return ff_dmirror_read(dmirror, cmd);
}

/* FF_DMIRROR_CHECK_EXCLUSIVE: -EPERM if the device has some page of a range for itself. */
int ff_dmirror_check_exclusive(struct ff_dmirror *dmirror,
			       struct ff_dmirror_cmd *cmd)
{
	return ff_exclusive_has(&dmirror->ctx->mirror, cmd->addr,
				cmd->addr + (cmd->npages << PAGE_SHIFT)) ?
		-EPERM : 0;
}
