/* SPDX-License-Identifier: GPL-2.0-only */
/* Prefetch. */
#ifndef FF_PREFETCH_H
#define FF_PREFETCH_H

struct ff_ctx;

int ff_prefetch(struct ff_ctx *ctx, void *arg);

#endif /* FF_PREFETCH_H */
