/* SPDX-License-Identifier: GPL-2.0-only */
/* Making pages present, on the CPU side and for the device. */
#ifndef FF_POPULATE_H
#define FF_POPULATE_H

#include "base/span.h"
#include "mirror/mirror.h"

/*
 * What one call of hmm_range_fault() covers at most. It bounds how long the
 * mmap lock is held, and lies within one table of level 0.
 */
#define FF_SPAN_SIZE	FF_LEVEL_SIZE(1)
#define FF_SPAN_PAGES	FF_LEVEL_PAGES(1)

/**
 * struct ff_scratch - What a caller of ff_populate() keeps between calls
 * @pfns: array for hmm_range_fault()
 */
struct ff_scratch {
	unsigned long pfns[FF_SPAN_PAGES];
};

/* Makes the pages of a span present once; -EBUSY if something came between. */
typedef int (ff_populate_try_t)(struct ff_interval *interval,
				const struct ff_span *span,
				struct ff_scratch *scratch);

struct ff_scratch *ff_scratch_alloc(void);

bool ff_span_is_sound(const struct ff_span *span);
int ff_vma_refuses(const struct vm_area_struct *vma, bool write);
int ff_fault_in_huge(struct ff_mirror *mirror, const struct ff_span *span);
int ff_fault_in(struct ff_mirror *mirror, const struct ff_span *span, bool all);
int ff_populate(struct ff_mirror *mirror, const struct ff_span *span,
		struct ff_scratch *scratch);
int ff_populate_until(struct ff_interval *interval, const struct ff_span *span,
		      struct ff_scratch *scratch, ff_populate_try_t *try);
int ff_populate_enter(struct ff_interval *interval, const struct ff_span *span,
		      unsigned long seq, const unsigned long *pfns, u64 flags);
enum ff_cause ff_cause_find(struct ff_mirror *mirror, unsigned long address,
			    bool write, int error);

#endif /* FF_POPULATE_H */
