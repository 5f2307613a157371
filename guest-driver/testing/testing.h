/* SPDX-License-Identifier: GPL-2.0-only */
/* What main.c asks of the tests' part of the driver, and its files of each other. */
#ifndef FF_TESTING_H
#define FF_TESTING_H

#include "service/queue.h"

void ff_stall_init(void);
void ff_stall_add(struct ff_device *ff);
void ff_break_init(void);
void ff_selfcheck_add(struct ff_device *ff);

bool ff_dmirror_is_wanted(const struct ff_device *ff);
void ff_dmirror_add(struct ff_device *ff);
void ff_dmirror_remove(struct ff_device *ff);

void ff_announce_begin(struct ff_queue *queue, unsigned long start,
		       unsigned long end, bool write);
struct ff_announcement ff_announce_end(struct ff_queue *queue);
void ff_announce_serve(struct ff_service *service);

#endif /* FF_TESTING_H */
