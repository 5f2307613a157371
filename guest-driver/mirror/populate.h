/* SPDX-License-Identifier: GPL-2.0-only */
/* Making pages present, on the CPU side and for the device, and why one cannot be. */
#ifndef FF_POPULATE_H
#define FF_POPULATE_H

#include "mirror/mirror.h"

/*
 * What one call of hmm_range_fault() covers at most. It bounds how long the
 * mmap lock is held, and lies within one table of level 0.
 */
#define FF_SPAN_SIZE	FF_LEVEL_SIZE(1)
#define FF_SPAN_PAGES	FF_LEVEL_PAGES(1)

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
 * struct ff_scratch - What a caller of ff_populate() keeps between calls
 * @pfns: array for hmm_range_fault()
 */
struct ff_scratch {
	unsigned long pfns[FF_SPAN_PAGES];
};

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

struct ff_scratch *ff_scratch_alloc(void);

bool ff_span_is_sound(const struct ff_span *span);
int ff_vma_refuses(const struct vm_area_struct *vma, bool write);
int ff_fault_in(struct ff_mirror *mirror, const struct ff_span *span, bool all);
int ff_populate(struct ff_mirror *mirror, const struct ff_span *span,
		struct ff_scratch *scratch);
enum ff_cause ff_cause_find(struct ff_mirror *mirror, unsigned long address,
			    bool write, int error);

#endif /* FF_POPULATE_H */
