/* SPDX-License-Identifier: GPL-2.0-only */
/* Faults that are held up on their way, so that tests find them there. */
#ifndef FF_STALL_H
#define FF_STALL_H

#include <linux/types.h>

struct ff_device;
struct ff_mirror;

/**
 * enum ff_stall_stage - Where a fault can be held up
 * @FF_STALL_NONE: nowhere
 * @FF_STALL_POSTED: the device has written its record, and nobody reads it
 * @FF_STALL_DRAINED: the group is complete, and nobody is told
 * @FF_STALL_READY: the service knows, and has not taken it
 * @FF_STALL_TAKEN: the service has taken it, and done nothing
 * @FF_STALL_FOUND: hmm_range_fault() has found the pages, nothing is mapped
 * @FF_STALL_SERVED: the pages are mapped, the device has no answer
 */
enum ff_stall_stage {
	FF_STALL_NONE,
	FF_STALL_POSTED,
	FF_STALL_DRAINED,
	FF_STALL_READY,
	FF_STALL_TAKEN,
	FF_STALL_FOUND,
	FF_STALL_SERVED,
};

void ff_stall(struct ff_mirror *mirror, enum ff_stall_stage stage);
bool ff_stall_skips(struct ff_device *ff, enum ff_stall_stage stage);
void ff_stall_add(struct ff_device *ff);

#endif /* FF_STALL_H */
