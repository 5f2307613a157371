// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters in debugfs, in lines of a name and a value:
 *
 *	farfault/<PCI address>/counters		what the driver counted
 *	farfault/<PCI address>/device_counters	what the device counted
 *
 * and beside them selfcheck, which checks what no caller can reach.
 */
#include <linux/array_size.h>
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/pci.h>
#include <linux/seq_file.h>

#include "base/debugfs.h"
#include "hw/device.h"
#include "testing/selfcheck.h"
#include "testing/stall.h"

static struct dentry *ff_debugfs_root;

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
	[FF_COUNT_DMA_MAPPINGS] = "dma_mappings",
	[FF_COUNT_PAGES_PINNED] = "pages_pinned",
};

static_assert(ARRAY_SIZE(ff_counter_names) == FF_COUNTERS_NR);

static const char * const ff_device_counter_names[] = {
	[FF_COUNTER_PAGE_REQUESTS] = "page_requests",
	[FF_COUNTER_LOOKAHEADS] = "lookaheads",
	[FF_COUNTER_FAULT_GROUPS] = "fault_groups",
	[FF_COUNTER_FAULT_OVERFLOWS] = "fault_overflows",
	[FF_COUNTER_QUEUES_HALTED] = "queues_halted",
	[FF_COUNTER_RESPONSES_RESUME] = "responses_resume",
	[FF_COUNTER_RESPONSES_FAIL] = "responses_fail",
	[FF_COUNTER_RESPONSES_STALE] = "responses_stale",
	[FF_COUNTER_COMMANDS] = "commands",
	[FF_COUNTER_COMMANDS_BAD] = "commands_bad",
	[FF_COUNTER_INVALIDATIONS] = "invalidations",
	[FF_COUNTER_WAITS] = "waits",
	[FF_COUNTER_TLB_HITS] = "tlb_hits",
	[FF_COUNTER_TLB_MISSES] = "tlb_misses",
	[FF_COUNTER_WALKS] = "walks",
	[FF_COUNTER_TABLE_FAULTS] = "table_faults",
	[FF_COUNTER_SECTIONS] = "sections",
	[FF_COUNTER_DESCRIPTORS] = "descriptors",
	[FF_COUNTER_DESCRIPTORS_FAILED] = "descriptors_failed",
	[FF_COUNTER_BYTES_READ] = "bytes_read",
	[FF_COUNTER_BYTES_WRITTEN] = "bytes_written",
	[FF_COUNTER_DOORBELLS] = "doorbells",
	[FF_COUNTER_DOORBELLS_WILD] = "doorbells_wild",
	[FF_COUNTER_MSIX_FAULT] = "msix_fault",
	[FF_COUNTER_MSIX_COMMAND] = "msix_command",
	[FF_COUNTER_MSIX_QUEUE] = "msix_queue",
	[FF_COUNTER_BAD_ACCESSES] = "bad_accesses",
};

static_assert(ARRAY_SIZE(ff_device_counter_names) == FF_COUNTERS);

static int counters_show(struct seq_file *seq, void *unused)
{
	struct ff_device *ff = seq->private;
	unsigned int i;

	for (i = 0; i < FF_COUNTERS_NR; i++)
		seq_printf(seq, "%s %lld\n", ff_counter_names[i],
			   atomic64_read(&ff->counters.value[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

static int device_counters_show(struct seq_file *seq, void *unused)
{
	struct ff_device *ff = seq->private;
	unsigned int i;

	for (i = 0; i < FF_COUNTERS; i++)
		seq_printf(seq, "%s %llu\n", ff_device_counter_names[i],
			   readq(ff->regs + FF_REG_COUNTERS + 8 * i));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(device_counters);

static int selfcheck_show(struct seq_file *seq, void *unused)
{
	ff_selfcheck(seq, seq->private);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(selfcheck);

void ff_debugfs_init(void)
{
	ff_debugfs_root = debugfs_create_dir("farfault", NULL);
}

void ff_debugfs_exit(void)
{
	debugfs_remove(ff_debugfs_root);
}

void ff_debugfs_add(struct ff_device *ff)
{
	ff->debugfs = debugfs_create_dir(pci_name(ff->pdev), ff_debugfs_root);
	debugfs_create_file("counters", 0444, ff->debugfs, ff, &counters_fops);
	debugfs_create_file("device_counters", 0444, ff->debugfs, ff,
			    &device_counters_fops);
	debugfs_create_file("selfcheck", 0400, ff->debugfs, ff,
			    &selfcheck_fops);
	ff_stall_add(ff);
}

/* Returns when nobody reads the files any more. */
void ff_debugfs_remove(struct ff_device *ff)
{
	debugfs_remove(ff->debugfs);
}
