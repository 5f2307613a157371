/* SPDX-License-Identifier: GPL-2.0-only */
/* Advice: what a program says about the future. */
#ifndef FF_ADVISE_H
#define FF_ADVISE_H

struct ff_ctx;

int ff_ioctl_advise(struct ff_ctx *ctx, void *arg);

#endif /* FF_ADVISE_H */
