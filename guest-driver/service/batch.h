/* SPDX-License-Identifier: GPL-2.0-only */
/* A batch of requests, from groups to responses. */
#ifndef FF_BATCH_H
#define FF_BATCH_H

#include <linux/types.h>

struct ff_service;

bool ff_batch_serve(struct ff_service *service);

#endif /* FF_BATCH_H */
