/* SPDX-License-Identifier: GPL-2.0-only */
/* The far-fault service: a batch of requests from groups to responses. */
#ifndef FF_BATCH_H
#define FF_BATCH_H

#include <linux/bits.h>
#include <linux/types.h>

struct ff_ctx;
struct ff_device;

/*
 * A request is a page address with these bits below. "Want" is all that some
 * record asked for; "demand" the part of it that a queue cannot go on without;
 * "failed" what of the demand could not be had.
 */
#define FF_WANT_READ	BIT_ULL(0)
#define FF_WANT_WRITE	BIT_ULL(1)
#define FF_DEMAND_READ	BIT_ULL(2)
#define FF_DEMAND_WRITE	BIT_ULL(3)
#define FF_FAILED_READ	BIT_ULL(4)
#define FF_FAILED_WRITE	BIT_ULL(5)

#define FF_WANT		(FF_WANT_READ | FF_WANT_WRITE)
#define FF_DEMAND	(FF_DEMAND_READ | FF_DEMAND_WRITE)
#define FF_FAILED	(FF_FAILED_READ | FF_FAILED_WRITE)

/* From the bits of a want to those of the same access as demand or failed. */
#define FF_DEMAND_SHIFT	2
#define FF_FAILED_SHIFT	4

u64 *ff_batch_alloc(struct ff_device *ff);
bool ff_batch_serve(struct ff_ctx *ctx);

#endif /* FF_BATCH_H */
