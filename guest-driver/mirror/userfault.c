// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that a userfaultfd handler has to bring.
 *
 * hmm_range_fault() keeps mmap_lock from beginning to end, so it cannot wait for
 * a handler, and answers -EFAULT without telling it anything. Such a page is
 * asked for as get_user_pages() would, with the lock given up meanwhile; then
 * hmm_range_fault() finds it.
 *
 * It is a fault in the kernel, so a userfaultfd that was opened with
 * UFFD_USER_MODE_ONLY does not hear of it and the access fails.
 */
#include <linux/mm.h>
#include <linux/userfaultfd_k.h>

#include "hw/device.h"
#include "mirror/populate.h"
#include "mirror/userfault.h"

/* The caller holds mmap_lock; it may have been given up in between. */
static int ff_userfault_page(struct mm_struct *mm, unsigned long address,
			     bool write)
{
	struct vm_area_struct *vma = vma_lookup(mm, address);
	bool unlocked;

	/* hmm_range_fault() wants VM_READ even to write; fixup_user_fault() not. */
	if (!vma || !userfaultfd_armed(vma) || !(vma->vm_flags & VM_READ))
		return -EFAULT;
	return fixup_user_fault(mm, address, write ? FAULT_FLAG_WRITE : 0,
				&unlocked);
}

/**
 * ff_userfault() - Have a userfaultfd handler bring pages, and wait for it
 * @mirror: mirror of the calling process
 * @span: for which hmm_range_fault() has answered -EFAULT
 *
 * Return: 0 if it may answer otherwise now; -EFAULT if no handler is in charge
 * or the page cannot be had, -EINTR if the caller was killed, -ESHUTDOWN if the
 * mirror closes.
 */
int ff_userfault(struct ff_mirror *mirror, const struct ff_span *span)
{
	struct mm_struct *mm = mirror->mm;
	unsigned long address;
	int ret = 0;

	if (READ_ONCE(mirror->closing))
		return -ESHUTDOWN;
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for (address = span->start; !ret && address < span->end;
	     address += PAGE_SIZE) {
		ret = ff_userfault_page(mm, address,
					span->request & HMM_PFN_REQ_WRITE);
		ff_count(&mirror->ff->counters, FF_COUNT_USERFAULTS, !ret);
	}
	mmap_read_unlock(mm);
	return ret;
}
