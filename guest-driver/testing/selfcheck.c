// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checks of what no program can reach: spans that no caller makes, and a 1 GiB leaf
 * that is invalidated in part, which the kernel does to none that it has today.
 * Debian's kernel has no KUnit. Prints KTAP.
 */
#include <linux/array_size.h>
#include <linux/debugfs.h>
#include <linux/hmm.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "hw/device.h"
#include "mirror/populate.h"
#include "pgtable/pgtable.h"
#include "testing/testing.h"

#define FF_READ		HMM_PFN_REQ_FAULT
#define FF_WRITE	(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)

static const struct {
	const char *name;
	struct ff_span span;
	bool sound;
} ff_spans[] = {
	{ "a_page_to_read", { SZ_2M, SZ_2M + SZ_4K, FF_READ }, true },
	{ "a_page_to_write", { SZ_2M, SZ_2M + SZ_4K, FF_WRITE }, true },
	{ "a_whole_span", { SZ_2M, SZ_4M, FF_WRITE }, true },
	{ "a_prefetch", { SZ_2M, SZ_4M, FF_READ, true }, true },
	{ "only_what_is_there", { SZ_2M, SZ_4M, 0 }, true },
	{ "a_prefetch_of_nothing", { SZ_2M, SZ_4M, 0, true }, false },
	{ "a_write_without_a_fault",
	  { SZ_2M, SZ_4M, HMM_PFN_REQ_WRITE }, false },
	{ "a_frame_number", { SZ_2M, SZ_4M, FF_READ | 1 }, false },
	{ "an_error_bit", { SZ_2M, SZ_4M, FF_READ | HMM_PFN_ERROR }, false },
	{ "a_bit_that_sticks",
	  { SZ_2M, SZ_4M, FF_READ | HMM_PFN_DMA_MAPPED }, false },
	{ "an_order",
	  { SZ_2M, SZ_4M, FF_READ | 9UL << HMM_PFN_ORDER_SHIFT }, false },
	{ "a_crooked_start", { SZ_2M + 8, SZ_4M, FF_READ }, false },
	{ "a_crooked_end", { SZ_2M, SZ_4M - 8, FF_READ }, false },
	{ "no_page", { SZ_2M, SZ_2M, FF_READ }, false },
	{ "an_end_before_the_start", { SZ_4M, SZ_2M, FF_READ }, false },
	{ "two_spans", { SZ_2M, SZ_4M + SZ_4K, FF_READ }, false },
};

static void ff_selfcheck_report(struct seq_file *seq, unsigned int number,
				const char *name, bool passed)
{
	seq_printf(seq, "%sok %u %s\n", passed ? "" : "not ", number, name);
}

/* Whether the leaf at an address maps @frame, and the device finds it there. */
static bool ff_selfcheck_at(struct ff_pgtable *pgt, unsigned long address,
			    unsigned long frame)
{
	struct ff_leaf leaf = ff_pgtable_lookup(pgt, address);

	return leaf.frame == frame &&
	       (leaf.entry & FF_PTE_ADDRESS) == PFN_PHYS(frame);
}

/* Of 1 GiB a page is taken out, and then the rest. The device knows nothing of it. */
static bool ff_selfcheck_split(struct ff_pgtable *pgt, struct list_head *spares)
{
	const unsigned long start = SZ_1G, leaf = start + 3 * SZ_2M;
	const unsigned long page = leaf + 7 * SZ_4K;
	const unsigned long frame = PFN_DOWN(5UL * SZ_1G);
	const unsigned long hole = frame + PFN_DOWN(page - start);
	const struct ff_leaf whole = {
		.entry = PFN_PHYS(frame) | FF_PTE_VALID | FF_PTE_LEAF |
			 FF_PTE_READ | FF_PTE_WRITE,
		.frame = frame,
	};
	struct ff_gather gather;
	bool passed;

	if (ff_pgtable_map(pgt, start, 2, whole, spares))
		return false;
	ff_gather_init(&gather, NULL, NULL);
	ff_pgtable_zap(pgt, page, page + SZ_4K, &gather);
	passed = gather.pages == 1 && gather.start == page &&
		 gather.end == page + SZ_4K &&
		 !ff_pgtable_lookup(pgt, page).entry &&
		 ff_selfcheck_at(pgt, start, frame) &&
		 ff_selfcheck_at(pgt, leaf - SZ_4K, frame + PFN_DOWN(2 * SZ_2M)) &&
		 ff_selfcheck_at(pgt, page - SZ_4K, hole - 1) &&
		 ff_selfcheck_at(pgt, page + SZ_4K, hole + 1) &&
		 ff_selfcheck_at(pgt, leaf + SZ_2M, frame + PFN_DOWN(4 * SZ_2M)) &&
		 ff_selfcheck_at(pgt, start + SZ_1G - 1,
				 frame + PFN_DOWN(SZ_1G - SZ_2M));

	ff_pgtable_zap(pgt, start, start + SZ_1G, &gather);
	ff_tables_free(pgt, &gather.tables);
	return passed && gather.pages == FF_LEVEL_PAGES(2) && !pgt->root->used;
}

static bool ff_selfcheck_spares(struct ff_pgtable *pgt,
				struct list_head *spares)
{
	struct ff_table *table;
	unsigned int i;

	for (i = 0; i < FF_PGTABLE_SPARES; i++) {
		table = ff_table_alloc(pgt, GFP_KERNEL);
		if (!table)
			return false;
		list_add(&table->link, spares);
	}
	return true;
}

static bool ff_selfcheck_pgtable(struct ff_device *ff)
{
	struct ff_counters *counters = kzalloc_obj(*counters);
	struct ff_pgtable pgt = {};
	LIST_HEAD(spares);
	bool passed = false;

	if (!counters)
		return false;
	if (!ff_pgtable_init(&pgt, ff->dev, counters, false)) {
		passed = ff_selfcheck_spares(&pgt, &spares) &&
			 ff_selfcheck_split(&pgt, &spares);
		ff_tables_free(&pgt, &spares);
		ff_pgtable_fini(&pgt);
	}
	passed = passed &&
		 !atomic64_read(&counters->value[FF_COUNT_TABLE_PAGES]);
	kfree(counters);
	return passed;
}

static int selfcheck_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	seq_printf(seq, "KTAP version 1\n1..%zu\n", ARRAY_SIZE(ff_spans) + 1);
	for (i = 0; i < ARRAY_SIZE(ff_spans); i++)
		ff_selfcheck_report(seq, i + 1, ff_spans[i].name,
				    ff_span_is_sound(&ff_spans[i].span) ==
				    ff_spans[i].sound);
	ff_selfcheck_report(seq, i + 1, "a_part_of_1_GiB",
			    ff_selfcheck_pgtable(seq->private));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(selfcheck);

void ff_selfcheck_add(struct ff_device *ff)
{
	debugfs_create_file("selfcheck", 0400, ff->debugfs, ff,
			    &selfcheck_fops);
}
