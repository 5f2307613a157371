// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prefetch: makes a range present in the mirror before the device asks. Every
 * page is to be had in the same way, which is what the default flags of
 * hmm_range_fault() are for.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "hw/device.h"

/**
 * ff_prefetch_range() - Make a range present
 * @ctx: context; the caller holds a user of the mm
 * @span: where to start, and for what
 * @end: where to end
 * @scratch: of the caller
 *
 * Goes through the range span by span. If invalidations keep coming between, or
 * some page cannot be had, the spans shrink; they grow again when it has worked.
 *
 * Return: 0, -ENODEV if the context closes, or as ff_populate().
 */
int ff_prefetch_range(struct ff_ctx *ctx, struct ff_span *span,
		      unsigned long end, struct ff_scratch *scratch)
{
	unsigned long size = FF_SPAN_SIZE;
	int ret;

	while (span->start < end) {
		if (READ_ONCE(ctx->mirror.closing))
			return -ENODEV;
		if (fatal_signal_pending(current))
			return -EINTR;

		span->end = min(end, ALIGN_DOWN(span->start, size) + size);
		ret = ff_populate(&ctx->mirror, span, scratch);
		/* What comes before a page that cannot be had is made present. */
		if (ret == -EAGAIN || (ret == -EFAULT && size > PAGE_SIZE)) {
			size = max(size / 2, PAGE_SIZE);
			continue;
		}
		if (ret)
			return ret;
		ff_count(&ctx->ff->counters, FF_COUNT_PREFETCH_PAGES,
			 (span->end - span->start) >> PAGE_SHIFT);
		span->start = span->end;
		size = min(size * 2, FF_SPAN_SIZE);
		cond_resched();
	}
	return 0;
}

/* FF_IOC_PREFETCH */
int ff_ioctl_prefetch(struct ff_ctx *ctx, void *arg)
{
	const struct ff_prefetch *prefetch = arg;
	struct ff_span span = {
		.start = ALIGN_DOWN(prefetch->address, PAGE_SIZE),
		.request = HMM_PFN_REQ_FAULT,
		.prefetch = true,
		.ask = true,
	};
	u64 end;
	int ret;

	if (prefetch->flags & ~FF_PREFETCH_WRITE || prefetch->reserved ||
	    check_add_overflow(prefetch->address, prefetch->length, &end))
		return -EINVAL;
	if (!access_ok(u64_to_user_ptr(prefetch->address), prefetch->length))
		return -EFAULT;
	if (!prefetch->length)
		return 0;
	if (prefetch->flags & FF_PREFETCH_WRITE)
		span.request |= HMM_PFN_REQ_WRITE;

	struct ff_scratch *scratch __free(kfree) = ff_scratch_alloc();
	if (!scratch)
		return -ENOMEM;
	ff_count(&ctx->ff->counters, FF_COUNT_PREFETCH_CALLS, 1);
	ret = ff_prefetch_range(ctx, &span, PAGE_ALIGN(end), scratch);
	if (ret && READ_ONCE(ctx->ff->unplugged))
		return -ENODEV;
	/* Whatever the reason, for the caller the address is no good. */
	return ret == -EPERM ? -EFAULT : ret;
}
