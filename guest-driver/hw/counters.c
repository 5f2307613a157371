// SPDX-License-Identifier: GPL-2.0-only
/* The file "device_counters" in debugfs: what the device itself counts. */
#include <linux/array_size.h>
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/seq_file.h>

#include "hw/device.h"

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
	[FF_COUNTER_DEVICE_BYTES_READ] = "device_bytes_read",
	[FF_COUNTER_DEVICE_BYTES_WRITTEN] = "device_bytes_written",
	[FF_COUNTER_ACCESS_RECORDS] = "access_records",
	[FF_COUNTER_ACCESS_RECORDS_LOST] = "access_records_lost",
};

static_assert(ARRAY_SIZE(ff_device_counter_names) == FF_COUNTERS);

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

void ff_device_counters_add(struct ff_device *ff)
{
	debugfs_create_file("device_counters", 0444, ff->debugfs, ff,
			    &device_counters_fops);
}
