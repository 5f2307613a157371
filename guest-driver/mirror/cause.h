/* SPDX-License-Identifier: GPL-2.0-only */
/* Why a page could not be had. */
#ifndef FF_CAUSE_H
#define FF_CAUSE_H

#include <linux/types.h>

struct ff_mirror;

/**
 * enum ff_cause - Why a page could not be had
 * @FF_CAUSE_NONE: it was
 * @FF_CAUSE_ADDRESS: nothing is mapped there, or not for that access
 * @FF_CAUSE_MEMORY: there was no memory for it, or for its tables
 * @FF_CAUSE_ENDED: the process is ending, or its context
 */
enum ff_cause {
	FF_CAUSE_NONE,
	FF_CAUSE_ADDRESS,
	FF_CAUSE_MEMORY,
	FF_CAUSE_ENDED,
};

enum ff_cause ff_cause_find(struct ff_mirror *mirror, unsigned long address,
			    bool write, int error);

#endif /* FF_CAUSE_H */
