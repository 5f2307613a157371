// SPDX-License-Identifier: GPL-2.0-only
/* The file "counters" in debugfs: a name and a value in each line. */
#include <linux/array_size.h>
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "base/counters.h"

static const char * const ff_counter_names[] = {
	[FF_COUNT_FAULTS] = "faults",
	[FF_COUNT_COALESCED] = "coalesced",
	[FF_COUNT_STALE_FAULTS] = "stale_faults",
	[FF_COUNT_BAD_RECORDS] = "bad_records",
	[FF_COUNT_FAULT_OVERFLOWS] = "fault_overflows",
	[FF_COUNT_BATCHES] = "batches",
	[FF_COUNT_GROUPS] = "groups",
	[FF_COUNT_RESPONSES_RESUME] = "responses_resume",
	[FF_COUNT_RESPONSES_FAIL] = "responses_fail",
	[FF_COUNT_FAIL_MEMORY] = "responses_fail_memory",
	[FF_COUNT_FAIL_ENDED] = "responses_fail_ended",
	[FF_COUNT_LOOKAHEADS_DROPPED] = "lookaheads_dropped",
	[FF_COUNT_STREAM_PAGES] = "stream_pages",
	[FF_COUNT_USERFAULTS] = "userfaults",
	[FF_COUNT_RANGE_FAULT_CALLS] = "range_fault_calls",
	[FF_COUNT_RANGE_FAULT_MASKED] = "range_fault_masked",
	[FF_COUNT_RANGE_FAULT_DEFAULT] = "range_fault_default",
	[FF_COUNT_RANGE_FAULT_PAGES] = "range_fault_pages",
	[FF_COUNT_RETRIES] = "retries",
	[FF_COUNT_INVALIDATIONS] = "invalidations",
	[FF_COUNT_INVALIDATIONS_FLUSHED] = "invalidations_flushed",
	[FF_COUNT_NONBLOCKABLE] = "nonblockable",
	[FF_COUNT_NONBLOCKABLE_REFUSED] = "nonblockable_refused",
	[FF_COUNT_PAGES_MAPPED] = "pages_mapped",
	[FF_COUNT_PAGES_ZAPPED] = "pages_zapped",
	[FF_COUNT_PAGES_DIRTIED] = "pages_dirtied",
	[FF_COUNT_LEAVES_2M] = "leaves_2m",
	[FF_COUNT_LEAVES_1G] = "leaves_1g",
	[FF_COUNT_LEAVES_JOINED] = "leaves_joined",
	[FF_COUNT_LEAVES_SPLIT] = "leaves_split",
	[FF_COUNT_PREFETCH_CALLS] = "prefetch_calls",
	[FF_COUNT_PREFETCH_PAGES] = "prefetch_pages",
	[FF_COUNT_COMMANDS] = "commands",
	[FF_COUNT_COMMAND_DOORBELLS] = "command_doorbells",
	[FF_COUNT_COMMAND_WAITS] = "command_waits",
	[FF_COUNT_FAULT_IRQS] = "fault_irqs",
	[FF_COUNT_COMMAND_IRQS] = "command_irqs",
	[FF_COUNT_QUEUE_IRQS] = "queue_irqs",
	[FF_COUNT_QUEUES_HALTED] = "queues_halted",
	[FF_COUNT_STALLED] = "stalled",
	[FF_COUNT_CONTEXTS] = "contexts",
	[FF_COUNT_QUEUES] = "queues",
	[FF_COUNT_NOTIFIERS] = "notifiers",
	[FF_COUNT_TABLE_PAGES] = "table_pages",
	[FF_COUNT_DMA_UNMAPS] = "dma_unmaps",
	[FF_COUNT_DMA_MAPPINGS] = "dma_mappings",
	[FF_COUNT_PAGES_PINNED] = "pages_pinned",
};

static_assert(ARRAY_SIZE(ff_counter_names) == FF_COUNTERS_NR);

static int counters_show(struct seq_file *seq, void *unused)
{
	struct ff_counters *counters = seq->private;
	unsigned int i;

	for (i = 0; i < FF_COUNTERS_NR; i++)
		seq_printf(seq, "%s %lld\n", ff_counter_names[i],
			   atomic64_read(&counters->value[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

void ff_counters_add(struct ff_counters *counters, struct dentry *parent)
{
	debugfs_create_file("counters", 0444, parent, counters, &counters_fops);
}
