/* SPDX-License-Identifier: GPL-2.0-only */
/* The mirror: the device page table of one mm, and what keeps it true. */
#ifndef FF_MIRROR_H
#define FF_MIRROR_H

#include <linux/hmm.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>

#include "ff_pgtable.h"

struct ff_device;

/*
 * What one call of hmm_range_fault() covers at most. It bounds how long the
 * mmap lock is held, and lies within one table of level 0.
 */
#define FF_SPAN_SIZE	FF_LEVEL_SIZE(1)
#define FF_SPAN_PAGES	FF_LEVEL_PAGES(1)

/**
 * struct ff_mirror - A device page table that follows an mm
 * @ff: device
 * @mm: held by mmgrab(); its users come and go
 * @pasid: name of the page table for the device
 * @lock: see the top of ff_mirror.c
 * @pgt: page table, under @lock
 * @windows: &struct ff_window by address; they are only added until the end
 * @closing: nothing more is to be mapped; who retries gives up
 */
struct ff_mirror {
	struct ff_device *ff;
	struct mm_struct *mm;
	u32 pasid;
	struct mutex lock; /* pgt; taken in notifiers */
	struct ff_pgtable pgt;
	struct maple_tree windows;
	bool closing;
};

/**
 * struct ff_span - What to make present
 * @start: first address, page aligned
 * @end: end; both in the same FF_SPAN_SIZE
 * @request: HMM_PFN_REQ_FAULT, with HMM_PFN_REQ_WRITE to be able to write; 0 to
 *	take what is there and fault nothing in
 * @prefetch: ask by default flags, which leaves the array alone, rather than
 *	page by page
 */
struct ff_span {
	unsigned long start;
	unsigned long end;
	unsigned long request;
	bool prefetch;
};

/**
 * struct ff_scratch - What a caller of ff_mirror_fault() keeps between calls
 * @tables: spare tables
 * @pfns: array for hmm_range_fault()
 */
struct ff_scratch {
	struct list_head tables;
	unsigned long pfns[FF_SPAN_PAGES];
};

struct ff_scratch *ff_scratch_alloc(void);
void ff_scratch_free(struct ff_mirror *mirror, struct ff_scratch *scratch);

int ff_mirror_open(struct ff_mirror *mirror, struct ff_device *ff,
		   struct mm_struct *mm);
void ff_mirror_close(struct ff_mirror *mirror);

int ff_mirror_fault(struct ff_mirror *mirror, const struct ff_span *span,
		    struct ff_scratch *scratch);
void ff_mirror_drop(struct ff_mirror *mirror, unsigned long start,
		    unsigned long end);

#endif /* FF_MIRROR_H */
