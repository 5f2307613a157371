/* SPDX-License-Identifier: GPL-2.0-only */
/* What a queue of the driver's own is about to want. */
#ifndef FF_ANNOUNCE_H
#define FF_ANNOUNCE_H

#include "service/queue.h"

void ff_announce_begin(struct ff_queue *queue, unsigned long start,
		       unsigned long end, bool write);
struct ff_announcement ff_announce_end(struct ff_queue *queue);
void ff_announce_serve(struct ff_service *service);

#endif /* FF_ANNOUNCE_H */
