// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots in the selftest's terms.
 */
#include <linux/hmm.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "testing/dmirror.h"

static u8 ff_dmirror_judge(struct ff_mirror *mirror, unsigned long address,
			   unsigned long pfn)
{
	unsigned int shift = hmm_pfn_to_map_order(pfn) + PAGE_SHIFT;
	u8 byte = FF_DMIRROR_NONE;

	if (pfn & HMM_PFN_ERROR)
		return FF_DMIRROR_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return FF_DMIRROR_NONE;

	byte |= pfn & HMM_PFN_WRITE ? FF_DMIRROR_CAN_WRITE : FF_DMIRROR_CAN_READ;
	if (is_zero_pfn(pfn & ~HMM_PFN_FLAGS))
		byte |= FF_DMIRROR_ZERO;
	if (shift == PMD_SHIFT)
		byte |= FF_DMIRROR_PMD;
	if (shift == PUD_SHIFT)
		byte |= FF_DMIRROR_PUD;
	return byte;
}

/* FF_DMIRROR_SNAPSHOT */
int ff_dmirror_snapshot(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd)
{
	int ret;

	ret = ff_snapshot_range(&dmirror->ctx->mirror, cmd->addr, cmd->npages,
				u64_to_user_ptr(cmd->ptr), ff_dmirror_judge);
	if (!ret)
		cmd->cpages = cmd->npages;
	return ret;
}
