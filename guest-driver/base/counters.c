// SPDX-License-Identifier: GPL-2.0-only
/* The file "counters" in debugfs: a name and a value in each line. */
#include <linux/array_size.h>
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "base/counters.h"

static const char * const ff_counter_names[] = {
#define COUNTER(counter, name)[FF_COUNT_##counter] = name,
#include "base/counter_list.h"
#undef COUNTER
};

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
