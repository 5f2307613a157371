/* SPDX-License-Identifier: GPL-2.0-only */
/* What hmm_range_fault() has found. */
#ifndef FF_FOUND_H
#define FF_FOUND_H

#include "mirror/populate.h"

unsigned long ff_found_frame(unsigned long pfn, unsigned long address);
bool ff_found_is_refused(const struct ff_mirror *mirror, unsigned long pfn,
			 unsigned long address);
bool ff_found_together(const struct ff_mirror *mirror,
		       const struct ff_span *span, const unsigned long *pfns);
int ff_found_check(const struct ff_span *span,
		   const struct ff_scratch *scratch);
int ff_found_bring_back(struct ff_mirror *mirror, const struct ff_span *span,
			const struct ff_scratch *scratch);

#endif /* FF_FOUND_H */
