/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages that the device has for itself. */
#ifndef FF_EXCLUSIVE_H
#define FF_EXCLUSIVE_H

#include <linux/rmap.h>
#include <linux/static_call.h>

#include "mirror/populate.h"

int ff_exclusive_take(struct ff_mirror *mirror, unsigned long address,
		      struct ff_scratch *scratch);
bool ff_exclusive_has(struct ff_mirror *mirror, unsigned long start,
		      unsigned long end);

/* make_device_exclusive(), or what a test has put in its place. */
DECLARE_STATIC_CALL(ff_exclusive_isolate, make_device_exclusive);

#endif /* FF_EXCLUSIVE_H */
