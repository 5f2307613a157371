// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that somebody else has to bring: a file system or a userfaultfd handler.
 *
 * Where hmm_range_fault() holds mmap_lock from beginning to end it asks no handler,
 * and before 7.3 its wait for a file system cannot be killed. From 7.3 on it can, but
 * a thread that waits for a handler there can be neither stopped nor frozen. Such
 * pages are therefore faulted in first, as the CPU would do it: with mmap_lock given
 * up, and until a signal comes.
 *
 * If a handler is in charge of some page of a span, all pages are faulted in here, and
 * HMM only looks at what is there. So it asks no handler, but that of a region that
 * one takes charge of in between.
 *
 * Such a fault is one in the kernel, so a userfaultfd that was opened with
 * UFFD_USER_MODE_ONLY does not hear of it and the access fails.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

#include "base/compat.h"
#include "hw/device.h"
#include "mirror/populate.h"

#define FF_FAULT_FLAGS	(FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY | \
			 FAULT_FLAG_KILLABLE | FAULT_FLAG_INTERRUPTIBLE)

/* As hmm_range_fault() would answer. */
int ff_vma_refuses(const struct vm_area_struct *vma, bool write)
{
	if (!vma || vma->vm_flags & (VM_IO | VM_PFNMAP) ||
	    !(vma->vm_flags & VM_READ))
		return -EFAULT;
	return write && !(vma->vm_flags & VM_WRITE) ? -EPERM : 0;
}

/* mmap_lock was given up to wait for somebody: whether to look again. */
static int ff_fault_in_again(const struct ff_mirror *mirror)
{
	if (READ_ONCE(mirror->closing))
		return -ESHUTDOWN;
	if (fatal_signal_pending(current))
		return -EINTR;
	return signal_pending(current) ? -ERESTARTSYS : 0;
}

/**
 * struct ff_fault_in_walk - How far the faulting in of a span is
 * @mirror: mirror of the calling process
 * @span: span
 * @all: all pages, rather than those that HMM cannot wait for
 * @address: page that is next
 * @tried: FAULT_FLAG_TRIED if it has been waited for
 */
struct ff_fault_in_walk {
	struct ff_mirror *mirror;
	const struct ff_span *span;
	bool all;
	unsigned long address;
	unsigned int tried;
};

/*
 * Goes on by a page, past a mapping that nobody need be waited for, or back to the
 * first page if all have to be faulted in.
 */
static int ff_fault_in_step(struct ff_fault_in_walk *in)
{
	bool write = in->span->request & HMM_PFN_REQ_WRITE;
	unsigned int flags = FF_FAULT_FLAGS | in->tried |
			     (write ? FAULT_FLAG_WRITE : 0);
	struct mm_struct *mm = in->mirror->mm;
	struct vm_area_struct *vma;
	vm_fault_t fault;
	bool armed;
	int ret;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma = vma_lookup(mm, in->address);
	ret = ff_vma_refuses(vma, write);
	if (ret)
		goto unlock;
	armed = userfaultfd_armed(vma);
	if (armed && !in->all) {
		in->all = true;
		in->address = in->span->start;
		goto unlock;
	}
	if (!in->all && (FF_HMM_GIVES_WAY || vma_is_anonymous(vma))) {
		in->address = vma->vm_end;
		goto unlock;
	}
	/* Then mmap_lock is kept, and a page that takes a wait is left out. */
	if (armed && !in->span->ask)
		flags |= FAULT_FLAG_RETRY_NOWAIT;
	fault = handle_mm_fault(vma, in->address, flags, NULL);
	if (fault & (VM_FAULT_RETRY | VM_FAULT_COMPLETED) &&
	    !(flags & FAULT_FLAG_RETRY_NOWAIT)) {
		ff_count(&in->mirror->ff->counters, FF_COUNT_USERFAULTS,
			 armed && !in->tried);
		in->tried = FAULT_FLAG_TRIED;
		return ff_fault_in_again(in->mirror);
	}
	if (fault & VM_FAULT_ERROR)
		ret = vm_fault_to_errno(fault, 0);
	in->tried = 0;
	in->address += PAGE_SIZE;
unlock:
	mmap_read_unlock(mm);
	return ret;
}

/**
 * ff_fault_in_huge() - Fault a huge page in, if there is to be one
 * @mirror: mirror of the calling process
 * @span: all of 2 MiB, and for what
 *
 * hmm_range_fault() faults each page of a hole in, although the first one may bring a
 * huge page. So it is made to find that. What goes wrong here goes wrong there, too.
 *
 * Return: 0, or -EINTR if the caller was killed.
 */
int ff_fault_in_huge(struct ff_mirror *mirror, const struct ff_span *span)
{
	bool write = span->request & HMM_PFN_REQ_WRITE;
	struct mm_struct *mm = mirror->mm;
	struct vm_area_struct *vma;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma = vma_lookup(mm, span->start);
	if (!ff_vma_refuses(vma, write) && vma_is_anonymous(vma) &&
	    !userfaultfd_armed(vma) && !(vma->vm_flags & VM_NOHUGEPAGE) &&
	    span->end <= vma->vm_end)
		handle_mm_fault(vma, span->start, FAULT_FLAG_REMOTE |
				(write ? FAULT_FLAG_WRITE : 0), NULL);
	mmap_read_unlock(mm);
	return 0;
}

/**
 * ff_fault_in() - Fault pages in on the CPU side, and wait for who brings them
 * @mirror: mirror of the calling process
 * @span: which pages, and for what
 * @all: all of them, rather than those that HMM cannot wait for
 *
 * Return: 1 if all pages have been faulted in, but for those that only a handler can
 * bring if it is not to be asked; 0 if HMM may do the rest; -ERESTARTSYS if a signal
 * came that does not kill, -EINTR if one came that does, -ESHUTDOWN if the mirror
 * closes; -EFAULT, -EPERM or -ENOMEM if a page cannot be had.
 */
int ff_fault_in(struct ff_mirror *mirror, const struct ff_span *span, bool all)
{
	struct ff_fault_in_walk in = {
		.mirror = mirror,
		.span = span,
		.all = all,
		.address = span->start,
	};
	int ret = 0;

	while (!ret && in.address < span->end)
		ret = ff_fault_in_step(&in);
	return ret ?: in.all;
}
