/* SPDX-License-Identifier: GPL-2.0-only */
/* What is to be in device memory when the device uses it. */
#ifndef FF_PREFER_H
#define FF_PREFER_H

#include "base/span.h"
#include "mirror/mirror.h"

/* Where it is to be when the device uses it; not 0, which is nothing said. */
enum ff_preference {
	FF_PREFER_DEVICE = 1,
	FF_PREFER_NOTHING,
};

int ff_prefer_set(struct ff_mirror *mirror, unsigned long start,
		  unsigned long end, enum ff_preference preference);
bool ff_prefer_is_tight(struct ff_mirror *mirror);
void ff_prefer_move(struct ff_mirror *mirror, const struct ff_span *span);

#endif /* FF_PREFER_H */
