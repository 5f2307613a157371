/* SPDX-License-Identifier: GPL-2.0-only */
/* What the device counts. */
#ifndef FF_HW_COUNTERS_H
#define FF_HW_COUNTERS_H

struct ff_device;

void ff_device_counters_add(struct ff_device *ff);

#endif /* FF_HW_COUNTERS_H */
