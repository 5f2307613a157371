/* SPDX-License-Identifier: GPL-2.0-only */
/* A batch of requests, from groups to responses. */
#ifndef FF_BATCH_H
#define FF_BATCH_H

#include <linux/types.h>

#include "base/abi.h"

struct ff_ctx;
struct ff_device;

#define FF_ACCESS	(FF_ACCESS_READ | FF_ACCESS_WRITE)

/**
 * struct ff_request - A page that the device asks for
 * @address: of the page
 * @want: FF_ACCESS bits that some record asked for
 * @demand: those of them that a queue cannot go on without
 * @failed: those of the demand that could not be had
 * @cause: &enum ff_cause, why
 * @stream: FF_ACCESS bits that the pages behind this one will be asked for
 * @extent: number of those pages, as far as they lie in the same FF_SPAN_SIZE
 * @present_only: not to be faulted in, only taken if it is there
 */
struct ff_request {
	u64 address;
	u8 want;
	u8 demand;
	u8 failed;
	u8 cause;
	u8 stream;
	u16 extent;
	bool present_only;
};

struct ff_request *ff_batch_alloc(struct ff_device *ff);
bool ff_batch_serve(struct ff_ctx *ctx);

#endif /* FF_BATCH_H */
