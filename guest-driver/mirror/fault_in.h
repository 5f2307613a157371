/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages that somebody else has to bring. */
#ifndef FF_FAULT_IN_H
#define FF_FAULT_IN_H

#include <linux/types.h>

struct ff_mirror;
struct ff_span;

int ff_fault_in(struct ff_mirror *mirror, const struct ff_span *span, bool all);

#endif /* FF_FAULT_IN_H */
