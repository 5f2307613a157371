// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much of a device one user and one context can have.
 *
 * A device has few queues and PASIDs for all who open it. A user is the real
 * user ID that opened the file, and CAP_SYS_RESOURCE lifts its limits, as with
 * RLIMIT_NPROC. Both are counted when something new is wanted: there are at most
 * 64 queues and 4095 contexts to look at.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/moduleparam.h>

#include "file/ctx.h"
#include "hw/device.h"

static unsigned int user_contexts = FF_CONTEXTS / 4;
module_param(user_contexts, uint, 0644);
MODULE_PARM_DESC(user_contexts, "Contexts, and so PASIDs, that a user can have");

static unsigned int user_queues = FF_QUEUES * 3 / 4;
module_param(user_queues, uint, 0644);
MODULE_PARM_DESC(user_queues, "Queues that a user can have");

static unsigned int context_queues = FF_QUEUES / 2;
module_param(context_queues, uint, 0644);
MODULE_PARM_DESC(context_queues, "Queues that a context can have");

/* Whether the context, which is in ff->contexts already, is one too many: -EDQUOT. */
int ff_quota_context(const struct ff_ctx *ctx)
{
	struct xarray *contexts = &ctx->ff->contexts;
	struct ff_ctx *other;
	unsigned long pasid;
	unsigned int nr = 0;

	xa_lock(contexts);
	xa_for_each(contexts, pasid, other)
		nr += uid_eq(other->uid, ctx->uid);
	xa_unlock(contexts);
	if (nr > READ_ONCE(user_contexts) && !capable(CAP_SYS_RESOURCE))
		return -EDQUOT;
	return 0;
}

/*
 * Whether a queue, which is in ff->queues already, is one too many: -EMFILE of the
 * context's, -EDQUOT of its user's.
 */
int ff_quota_queue(const struct ff_ctx *ctx)
{
	unsigned int id, of_context = 0, of_user = 0;
	struct ff_device *ff = ctx->ff;
	const struct ff_ctx *other;

	spin_lock(&ff->queue_lock);
	for (id = 0; id < ff->nr_queues; id++) {
		if (!ff->queues[id])
			continue;
		other = container_of(ff->queues[id]->service, struct ff_ctx,
				     service);
		of_context += other == ctx;
		of_user += uid_eq(other->uid, ctx->uid);
	}
	spin_unlock(&ff->queue_lock);
	if (of_context > READ_ONCE(context_queues))
		return -EMFILE;
	if (of_user > READ_ONCE(user_queues) && !capable(CAP_SYS_RESOURCE))
		return -EDQUOT;
	return 0;
}
