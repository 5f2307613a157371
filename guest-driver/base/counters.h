/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the driver counts. Times on shared machines mean little; counts are
 * exact, and tests rely on them.
 */
#ifndef FF_COUNTERS_H
#define FF_COUNTERS_H

#include <linux/atomic.h>

struct dentry;

/* What is counted. */
enum ff_counter {
#define COUNTER(counter, ...) FF_COUNT_##counter,
#include "base/counter_list.h"
#undef COUNTER
	FF_COUNTERS_NR
};

/**
 * struct ff_counters - The counters of a device
 * @value: by &enum ff_counter
 */
struct ff_counters {
	atomic64_t value[FF_COUNTERS_NR];
};

static inline void ff_count(struct ff_counters *counters,
			    enum ff_counter which, s64 n)
{
	atomic64_add(n, &counters->value[which]);
}

void ff_counters_add(struct ff_counters *counters, struct dentry *parent);

#endif /* FF_COUNTERS_H */
