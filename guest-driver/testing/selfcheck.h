/* SPDX-License-Identifier: GPL-2.0-only */
/* Checks of what no program can reach. */
#ifndef FF_SELFCHECK_H
#define FF_SELFCHECK_H

struct ff_device;

void ff_selfcheck_add(struct ff_device *ff);

#endif /* FF_SELFCHECK_H */
