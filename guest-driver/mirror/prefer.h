/* SPDX-License-Identifier: GPL-2.0-only */
/* What is to be in device memory when the device uses it. */
#ifndef FF_PREFER_H
#define FF_PREFER_H

#include "base/span.h"
#include "mirror/mirror.h"

struct ff_move;

/* Where it is to be when the device uses it; not 0, which is nothing said. */
enum ff_preference {
	FF_PREFER_DEVICE = 1,
	FF_PREFER_NOTHING,
	FF_PREFER_OFTEN,	/* once it uses it often: mirror/often.c */
	FF_PREFER_WRITTEN,	/* not if it only reads it */
};

int ff_prefer_set(struct ff_mirror *mirror, unsigned long start,
		  unsigned long end, enum ff_preference preference);
enum ff_preference ff_prefer_at(struct ff_mirror *mirror,
				unsigned long address, unsigned long *start,
				unsigned long *end);
bool ff_prefer_awaits_write(struct ff_mirror *mirror, const struct ff_span *span,
			    unsigned long address);
bool ff_prefer_is_tight(struct ff_mirror *mirror);
void ff_prefer_move_range(struct ff_move *move, struct ff_mirror *mirror,
			  unsigned long address, unsigned long start,
			  unsigned long end);
void ff_prefer_move(struct ff_mirror *mirror, const struct ff_span *span);

#endif /* FF_PREFER_H */
