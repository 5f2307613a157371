// SPDX-License-Identifier: GPL-2.0-only
/*
 * Advice: what a program says about the future. Other than with a prefetch
 * nothing is promised, so nothing fails for pages that cannot be had.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "hw/device.h"
#include "mirror/often.h"
#include "mirror/prefer.h"

/* Whether it means that some page cannot be had, or not at once. */
static bool ff_advise_ignores(int error)
{
	return error == -EFAULT || error == -EPERM || error == -EAGAIN;
}

/* What is to be had of a span, page by page. */
static int ff_advise_pages(struct ff_ctx *ctx, const struct ff_span *span,
			   struct ff_scratch *scratch)
{
	struct ff_span page = *span;
	int ret;

	for (; page.start < span->end; page.start = page.end) {
		page.end = page.start + PAGE_SIZE;
		ret = ff_populate(&ctx->mirror, &page, scratch);
		if (ret && !ff_advise_ignores(ret))
			return ret;
	}
	return 0;
}

static int ff_advise_will(struct ff_ctx *ctx, unsigned long start,
			  unsigned long end, unsigned long request)
{
	struct ff_span span = { .request = request, .prefetch = true };
	struct ff_scratch *scratch __free(kfree) = ff_scratch_alloc();
	int ret = 0;

	if (!scratch)
		return -ENOMEM;
	for (; !ret && start < end; start = span.end) {
		span.start = start;
		span.end = min(end, ALIGN_DOWN(start, FF_SPAN_SIZE) +
				    FF_SPAN_SIZE);
		ret = ff_populate(&ctx->mirror, &span, scratch);
		if (ff_advise_ignores(ret))
			ret = ff_advise_pages(ctx, &span, scratch);
		if (READ_ONCE(ctx->ff->unplugged))
			ret = -ENODEV;
		else if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	return ret;
}

static int ff_advise_prefer(struct ff_ctx *ctx, unsigned long start,
			    unsigned long end, enum ff_preference preference)
{
	if (preference != FF_PREFER_NOTHING && !ctx->mirror.region)
		return -EOPNOTSUPP;
	if (start >= end)
		return 0;
	return ff_prefer_set(&ctx->mirror, start, end, preference);
}

static int ff_advise_prefer_often(struct ff_ctx *ctx, unsigned long start,
				  unsigned long end)
{
	int section, ret;

	if (!ff_device_enter(ctx->ff, &section))
		return -ENODEV;
	ret = ff_often_begin(&ctx->mirror);
	ff_device_exit(ctx->ff, section);
	return ret ?: ff_advise_prefer(ctx, start, end, FF_PREFER_OFTEN);
}

static int ff_advise_dont_need(struct ff_ctx *ctx, unsigned long start,
			       unsigned long end)
{
	int section;

	if (!ff_device_enter(ctx->ff, &section))
		return -ENODEV;
	ff_mirror_drop(&ctx->mirror, start, end);
	ff_device_exit(ctx->ff, section);
	return 0;
}

/* FF_IOC_ADVISE */
int ff_ioctl_advise(struct ff_ctx *ctx, void *arg)
{
	const struct ff_advise *advise = arg;
	u64 start = advise->address, end;

	if (advise->reserved || !PAGE_ALIGNED(start) ||
	    !PAGE_ALIGNED(advise->length) ||
	    check_add_overflow(start, advise->length, &end))
		return -EINVAL;
	if (!access_ok(u64_to_user_ptr(start), advise->length))
		return -EFAULT;

	switch (advise->advice) {
	case FF_ADVISE_WILL_READ:
		return ff_advise_will(ctx, start, end, HMM_PFN_REQ_FAULT);
	case FF_ADVISE_WILL_WRITE:
		return ff_advise_will(ctx, start, end, HMM_PFN_REQ_FAULT |
						       HMM_PFN_REQ_WRITE);
	case FF_ADVISE_DONT_NEED:
		return start < end ? ff_advise_dont_need(ctx, start, end) : 0;
	case FF_ADVISE_PREFER_DEVICE:
		return ff_advise_prefer(ctx, start, end, FF_PREFER_DEVICE);
	case FF_ADVISE_PREFER_NOTHING:
		return ff_advise_prefer(ctx, start, end, FF_PREFER_NOTHING);
	case FF_ADVISE_PREFER_OFTEN:
		return ff_advise_prefer_often(ctx, start, end);
	case FF_ADVISE_PREFER_WRITTEN:
		return ff_advise_prefer(ctx, start, end, FF_PREFER_WRITTEN);
	default:
		return -EINVAL;
	}
}
