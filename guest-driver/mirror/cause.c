// SPDX-License-Identifier: GPL-2.0-only
/*
 * Why a page could not be had.
 *
 * hmm_range_fault() says -EFAULT for all that goes wrong while mm faults a page
 * in, be it that nothing is mapped there or that memory is lacking. A program has
 * to tell them apart: the one is its own mistake, the other may be better later.
 */
#include <linux/sched/signal.h>

#include "mirror/populate.h"

/**
 * ff_cause_find() - Why a page could not be had
 * @mirror: mirror of the calling process
 * @address: of the page
 * @write: whether it was wanted for writing
 * @error: what ff_populate() has returned for this very page
 *
 * Return: the cause; FF_CAUSE_NONE if mm would let the process have it now, or
 * later.
 */
enum ff_cause ff_cause_find(struct ff_mirror *mirror, unsigned long address,
			    bool write, int error)
{
	const struct ff_span page = {
		.start = ALIGN_DOWN(address, PAGE_SIZE),
		.end = ALIGN_DOWN(address, PAGE_SIZE) + PAGE_SIZE,
		.request = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0),
		.ask = true,
	};

	if (error == -EFAULT && !fatal_signal_pending(current))
		error = ff_fault_in(mirror, &page, true);
	if (fatal_signal_pending(current))
		return FF_CAUSE_ENDED;

	switch (error) {
	case 0:
	case 1:
	case -EAGAIN:
	case -ERESTARTSYS:
		return FF_CAUSE_NONE;
	case -EOPNOTSUPP:
		return FF_CAUSE_ATOMIC;
	case -ENOMEM:
		return FF_CAUSE_MEMORY;
	case -EINTR:
	case -ESHUTDOWN:
		return FF_CAUSE_ENDED;
	default:
		return FF_CAUSE_ADDRESS;
	}
}
