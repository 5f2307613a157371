/* SPDX-License-Identifier: GPL-2.0-only */
/* How much of a device one user and one context can have. */
#ifndef FF_QUOTA_H
#define FF_QUOTA_H

struct ff_ctx;

int ff_quota_context(const struct ff_ctx *ctx);
int ff_quota_queue(const struct ff_ctx *ctx);

#endif /* FF_QUOTA_H */
