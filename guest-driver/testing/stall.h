/* SPDX-License-Identifier: GPL-2.0-only */
/* Faults that are held up on their way, so that tests find them there. */
#ifndef FF_STALL_H
#define FF_STALL_H

struct ff_device;

void ff_stall_init(void);
void ff_stall_add(struct ff_device *ff);

#endif /* FF_STALL_H */
