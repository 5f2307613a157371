/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages that the device has for itself. */
#ifndef FF_EXCLUSIVE_H
#define FF_EXCLUSIVE_H

#include "mirror/invalidate.h"
#include "mirror/mirror.h"

/* Software bit of an entry: the CPU does not map the page meanwhile. */
#define FF_PTE_EXCLUSIVE	BIT_ULL(10)
static_assert(FF_PTE_EXCLUSIVE & FF_PTE_SOFTWARE, "the device ignores it");

int ff_exclusive_take(struct ff_mirror *mirror, unsigned long address);
bool ff_exclusive_has(struct ff_mirror *mirror, unsigned long start,
		      unsigned long end);

#endif /* FF_EXCLUSIVE_H */
