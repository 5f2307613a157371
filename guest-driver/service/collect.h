/* SPDX-License-Identifier: GPL-2.0-only */
/* The fault queue, by which the device tells the driver. */
#ifndef FF_COLLECT_H
#define FF_COLLECT_H

struct ff_device;

int ff_faults_init(struct ff_device *ff);
void ff_fault_drain(struct ff_device *ff);

#endif /* FF_COLLECT_H */
