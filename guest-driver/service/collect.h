/* SPDX-License-Identifier: GPL-2.0-only */
/* From fault records to groups. */
#ifndef FF_COLLECT_H
#define FF_COLLECT_H

struct ff_device;
struct ff_fault;

void ff_collect(struct ff_device *ff, const struct ff_fault *fault);

#endif /* FF_COLLECT_H */
