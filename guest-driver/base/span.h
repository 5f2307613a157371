/* SPDX-License-Identifier: GPL-2.0-only */
/* What is made present at a time, and why a page cannot be. */
#ifndef FF_SPAN_H
#define FF_SPAN_H

#include <linux/types.h>

/**
 * struct ff_span - What to make present
 * @start: first address, page aligned
 * @end: end; both in the same FF_SPAN_SIZE
 * @request: HMM_PFN_REQ_FAULT, with HMM_PFN_REQ_WRITE to be able to write; 0 to
 *	take what is there and fault nothing in
 * @prefetch: ask by default flags, which leaves the array alone, rather than
 *	page by page
 * @ask: where a userfaultfd is in charge, ask its handler and wait for it
 */
struct ff_span {
	unsigned long start;
	unsigned long end;
	unsigned long request;
	bool prefetch;
	bool ask;
};

/**
 * enum ff_cause - Why a page could not be had
 * @FF_CAUSE_NONE: it was
 * @FF_CAUSE_ADDRESS: nothing is mapped there, or not for that access
 * @FF_CAUSE_MEMORY: there was no memory for it, or for its tables
 * @FF_CAUSE_ATOMIC: the device cannot have it for itself
 * @FF_CAUSE_ENDED: the process is ending, or its context
 */
enum ff_cause {
	FF_CAUSE_NONE,
	FF_CAUSE_ADDRESS,
	FF_CAUSE_MEMORY,
	FF_CAUSE_ATOMIC,
	FF_CAUSE_ENDED,
};

#endif /* FF_SPAN_H */
