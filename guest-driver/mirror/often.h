/* SPDX-License-Identifier: GPL-2.0-only */
/* What the device accesses often goes to its memory, where that is advised. */
#ifndef FF_OFTEN_H
#define FF_OFTEN_H

#include "mirror/mirror.h"

int ff_often_begin(struct ff_mirror *mirror);
void ff_often_go_on(struct ff_mirror *mirror);
void ff_often_end(struct ff_mirror *mirror);
void ff_often_move(struct ff_mirror *mirror, u64 address);

#endif /* FF_OFTEN_H */
