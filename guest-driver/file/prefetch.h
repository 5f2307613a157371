/* SPDX-License-Identifier: GPL-2.0-only */
/* Prefetch. */
#ifndef FF_PREFETCH_H
#define FF_PREFETCH_H

struct ff_ctx;
struct ff_scratch;
struct ff_span;

int ff_prefetch_range(struct ff_ctx *ctx, struct ff_span *span,
		      unsigned long end, struct ff_scratch *scratch);
int ff_ioctl_prefetch(struct ff_ctx *ctx, void *arg);

#endif /* FF_PREFETCH_H */
