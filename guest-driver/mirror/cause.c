// SPDX-License-Identifier: GPL-2.0-only
/*
 * Why a page could not be had.
 *
 * hmm_range_fault() says -EFAULT for all that goes wrong while mm faults a page
 * in, be it that nothing is mapped there or that memory is lacking. A program has
 * to tell them apart: the one is its own mistake, the other may be better later.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "mirror/cause.h"
#include "mirror/mirror.h"

/* Asks mm, as get_user_pages() would. Returns 0 if it has nothing against it. */
static int ff_cause_ask(struct mm_struct *mm, unsigned long address, bool write)
{
	int ret;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	ret = fixup_user_fault(mm, address, write ? FAULT_FLAG_WRITE : 0, NULL);
	mmap_read_unlock(mm);
	return ret;
}

/**
 * ff_cause() - Why a page could not be had
 * @mirror: mirror of the calling process
 * @address: of the page
 * @write: whether it was wanted for writing
 * @error: what ff_populate() has returned for this very page
 *
 * Return: the cause; FF_CAUSE_NONE if mm would let the process have it now.
 */
enum ff_cause ff_cause(struct ff_mirror *mirror, unsigned long address,
		       bool write, int error)
{
	if (error == -EFAULT && !fatal_signal_pending(current))
		error = ff_cause_ask(mirror->mm, address, write);
	if (fatal_signal_pending(current))
		return FF_CAUSE_ENDED;

	switch (error) {
	case 0:
		return FF_CAUSE_NONE;
	case -ENOMEM:
		return FF_CAUSE_MEMORY;
	case -EINTR:
	case -ESHUTDOWN:
		return FF_CAUSE_ENDED;
	default:
		return FF_CAUSE_ADDRESS;
	}
}
