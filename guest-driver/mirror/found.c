// SPDX-License-Identifier: GPL-2.0-only
/*
 * What hmm_range_fault() has found, and what there is to be said about it.
 */
#include <linux/magic.h>
#include <linux/memremap.h>
#include <linux/pagemap.h>

#include "hw/device.h"
#include "memory/region.h"
#include "mirror/found.h"

/**
 * ff_found_frame() - The frame of a page
 * @pfn: what was found
 * @address: of the page
 *
 * Of a large page of device memory HMM counts frames from the first page that it was
 * asked for, as if that was the first of the large page (hmm_vma_handle_absent_pmd()).
 * It maps all of its folio, so that tells the frame.
 *
 * Return: the frame.
 */
unsigned long ff_found_frame(unsigned long pfn, unsigned long address)
{
	unsigned int order = hmm_pfn_to_map_order(pfn);
	struct page *page = hmm_pfn_to_page(pfn);

	if (!order || !is_device_private_page(page))
		return pfn & ~HMM_PFN_FLAGS;
	return folio_pfn(page_folio(page)) +
	       ((address >> PAGE_SHIFT) & (BIT(order) - 1));
}

/*
 * Whether a frame is of memfd_secret(2), which pinning refuses and HMM does not.
 * The file keeps its superblock as long as the page is mapped. No test that the
 * kernel has for it is exported. Such memory is of small folios.
 */
static bool ff_frame_is_secret(unsigned long frame)
{
	struct folio *folio = page_folio(pfn_to_page(frame));
	struct address_space *mapping;

	if (folio_test_large(folio) || folio_test_anon(folio))
		return false;
	mapping = READ_ONCE(folio->mapping);
	return mapping && mapping->host->i_sb->s_magic == SECRETMEM_MAGIC;
}

/* Whether the device is not to have a page that was found at @address. */
bool ff_found_is_refused(const struct ff_mirror *mirror, unsigned long pfn,
			 unsigned long address)
{
	unsigned long frame = ff_found_frame(pfn, address);

	if (ff_region_has(mirror->region, frame))
		return !ff_region_use(mirror->region, frame);
	return ff_frame_is_secret(frame);
}

/*
 * Whether the frames of a whole span lie one behind the other, although the CPU
 * may map them page by page: then one leaf will do. Not where leaves are DMA
 * mappings, which are not split again (pgtable/dma.c).
 */
bool ff_found_together(const struct ff_mirror *mirror,
		       const struct ff_span *span, const unsigned long *pfns)
{
	const unsigned long bits = ~HMM_PFN_FLAGS | HMM_PFN_VALID |
				   HMM_PFN_WRITE;
	unsigned long i, first = pfns[0] & bits;

	if (mirror->pgt.translated ||
	    span->end - span->start != FF_SPAN_SIZE ||
	    !(first & HMM_PFN_VALID) || !IS_ALIGNED(first, FF_SPAN_PAGES))
		return false;
	/* One entry of the CPU's says so. */
	if (hmm_pfn_to_map_order(pfns[0]) >= FF_PT_BITS)
		return true;
	/* Each page of device memory is asked for by itself. */
	if (ff_region_has(mirror->region, pfns[0] & ~HMM_PFN_FLAGS))
		return false;
	for (i = 1; i < FF_SPAN_PAGES; i++)
		if ((pfns[i] & bits) != first + i ||
		    ff_frame_is_secret(pfns[i] & ~HMM_PFN_FLAGS))
			return false;
	return true;
}

/*
 * Whether all is there that was faulted in before HMM looked. What is not may have
 * gone again, or only a handler could have brought it. What cannot be had is an error.
 */
int ff_found_check(const struct ff_span *span,
		   const struct ff_scratch *scratch)
{
	unsigned long pages = (span->end - span->start) >> PAGE_SHIFT;
	unsigned long i, wanted = HMM_PFN_VALID;

	if (span->request & HMM_PFN_REQ_WRITE)
		wanted |= HMM_PFN_WRITE;
	for (i = 0; i < pages; i++) {
		if (scratch->pfns[i] & HMM_PFN_ERROR)
			return -EFAULT;
		if (wanted & ~scratch->pfns[i])
			return span->ask ? -EBUSY : -EFAULT;
	}
	return 0;
}

/*
 * HMM takes what is in the device's own memory as it is: it does not fault it in for a
 * write that the CPU would not be let make, be it that a child shares the page or that
 * it could not be written once. So such pages are brought back here, and written in
 * system memory. Returns -EBUSY if there were some: HMM has to look again.
 */
int ff_found_bring_back(struct ff_mirror *mirror, const struct ff_span *span,
			const struct ff_scratch *scratch)
{
	struct ff_span page = *span;
	int ret = 0, error;
	unsigned long pfn;

	if (!mirror->region)
		return 0;
	for (; page.start < span->end; page.start = page.end) {
		page.end = page.start + PAGE_SIZE;
		pfn = scratch->pfns[(page.start - span->start) >> PAGE_SHIFT];
		if (!(pfn & HMM_PFN_VALID) || pfn & HMM_PFN_WRITE ||
		    !ff_region_has(mirror->region, pfn & ~HMM_PFN_FLAGS))
			continue;
		error = ff_fault_in(mirror, &page, true);
		if (error < 0)
			return error;
		ret = -EBUSY;
		/* A large page comes as a whole. */
		page.end = min(span->end, ALIGN_DOWN(page.start, PAGE_SIZE <<
						     hmm_pfn_to_map_order(pfn)) +
			       (PAGE_SIZE << hmm_pfn_to_map_order(pfn)));
	}
	return ret;
}
