/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the driver counts. Times on shared machines mean little; counts are
 * exact, and tests rely on them.
 */
#ifndef FF_COUNTERS_H
#define FF_COUNTERS_H

#include <linux/atomic.h>

struct dentry;

/**
 * enum ff_counter - What is counted; base/counters.c has the names
 * @FF_COUNT_FAULTS: page requests read from the fault queue
 * @FF_COUNT_COALESCED: requests merged with another for the same page
 * @FF_COUNT_STALE_FAULTS: requests for what was mapped well enough by then,
 *	or of queues that are gone
 * @FF_COUNT_BAD_RECORDS: fault records that make no sense
 * @FF_COUNT_FAULT_OVERFLOWS: times that the device found the fault queue full
 * @FF_COUNT_BATCHES: passes of the service over the requests of a context
 * @FF_COUNT_GROUPS: fault groups answered
 * @FF_COUNT_RESPONSES_RESUME: groups answered with "go on"
 * @FF_COUNT_RESPONSES_FAIL: groups answered with "cannot be had"
 * @FF_COUNT_FAIL_MEMORY: those of them for want of memory
 * @FF_COUNT_FAIL_ENDED: those because the process or its context was ending; the
 *	rest is for addresses
 * @FF_COUNT_LOOKAHEADS_DROPPED: pages ahead that could not be had
 * @FF_COUNT_STREAM_PAGES: pages that no record asked for, but that a command
 *	had said it will come to
 * @FF_COUNT_USERFAULTS: pages that a userfaultfd handler may have brought
 * @FF_COUNT_RANGE_FAULT_CALLS: calls of hmm_range_fault()
 * @FF_COUNT_RANGE_FAULT_MASKED: those that asked page by page
 * @FF_COUNT_RANGE_FAULT_DEFAULT: those that asked by default flags
 * @FF_COUNT_RANGE_FAULT_PAGES: pages that those calls were asked for
 * @FF_COUNT_RETRIES: tries over again: an invalidation came between, or its flush or a
 *	table was waited for
 * @FF_COUNT_INVALIDATIONS: calls of the interval notifiers
 * @FF_COUNT_INVALIDATIONS_FLUSHED: those that found something mapped
 * @FF_COUNT_NONBLOCKABLE: those that were not allowed to block
 * @FF_COUNT_NONBLOCKABLE_REFUSED: those that had to be refused for it
 * @FF_COUNT_PAGES_MAPPED: 4 KiB pages entered in device page tables
 * @FF_COUNT_PAGES_ZAPPED: 4 KiB pages taken out of them
 * @FF_COUNT_PAGES_DIRTIED: 4 KiB pages that were writable, and so are marked dirty
 * @FF_COUNT_LEAVES_2M: 2 MiB leaves entered
 * @FF_COUNT_LEAVES_1G: 1 GiB leaves entered
 * @FF_COUNT_LEAVES_JOINED: 2 MiB leaves that took the place of 4 KiB ones
 * @FF_COUNT_LEAVES_SPLIT: large leaves that made place for those of the next size
 * @FF_COUNT_PREFETCH_CALLS: prefetch ioctls
 * @FF_COUNT_PREFETCH_PAGES: pages they made present, or the service ahead of
 *	a command of the driver's own
 * @FF_COUNT_COMMANDS: commands posted to the device
 * @FF_COUNT_COMMAND_DOORBELLS: doorbells rung for them
 * @FF_COUNT_COMMAND_WAITS: waits for a command that had to sleep
 * @FF_COUNT_FAULT_IRQS: interrupts of the fault queue
 * @FF_COUNT_COMMAND_IRQS: interrupts of the command queue
 * @FF_COUNT_QUEUE_IRQS: interrupts for completions
 * @FF_COUNT_QUEUES_HALTED: queues that the device halted
 * @FF_COUNT_STALLED: faults that were held up for a test
 * @FF_COUNT_CONTEXTS: contexts there are now
 * @FF_COUNT_QUEUES: user-mode queues there are now
 * @FF_COUNT_NOTIFIERS: interval notifiers there are now
 * @FF_COUNT_TABLE_PAGES: page-table pages there are now
 * @FF_COUNT_DMA_UNMAPS: times that DMA mappings were undone, one or many at once
 * @FF_COUNT_DMA_MAPPINGS: DMA mappings there are now, which have to be undone
 * @FF_COUNT_PAGES_PINNED: 4 KiB pages of registered buffers there are now
 * @FF_COUNTERS_NR: number of counters
 */
enum ff_counter {
	FF_COUNT_FAULTS,
	FF_COUNT_COALESCED,
	FF_COUNT_STALE_FAULTS,
	FF_COUNT_BAD_RECORDS,
	FF_COUNT_FAULT_OVERFLOWS,
	FF_COUNT_BATCHES,
	FF_COUNT_GROUPS,
	FF_COUNT_RESPONSES_RESUME,
	FF_COUNT_RESPONSES_FAIL,
	FF_COUNT_FAIL_MEMORY,
	FF_COUNT_FAIL_ENDED,
	FF_COUNT_LOOKAHEADS_DROPPED,
	FF_COUNT_STREAM_PAGES,
	FF_COUNT_USERFAULTS,
	FF_COUNT_RANGE_FAULT_CALLS,
	FF_COUNT_RANGE_FAULT_MASKED,
	FF_COUNT_RANGE_FAULT_DEFAULT,
	FF_COUNT_RANGE_FAULT_PAGES,
	FF_COUNT_RETRIES,
	FF_COUNT_INVALIDATIONS,
	FF_COUNT_INVALIDATIONS_FLUSHED,
	FF_COUNT_NONBLOCKABLE,
	FF_COUNT_NONBLOCKABLE_REFUSED,
	FF_COUNT_PAGES_MAPPED,
	FF_COUNT_PAGES_ZAPPED,
	FF_COUNT_PAGES_DIRTIED,
	FF_COUNT_LEAVES_2M,
	FF_COUNT_LEAVES_1G,
	FF_COUNT_LEAVES_JOINED,
	FF_COUNT_LEAVES_SPLIT,
	FF_COUNT_PREFETCH_CALLS,
	FF_COUNT_PREFETCH_PAGES,
	FF_COUNT_COMMANDS,
	FF_COUNT_COMMAND_DOORBELLS,
	FF_COUNT_COMMAND_WAITS,
	FF_COUNT_FAULT_IRQS,
	FF_COUNT_COMMAND_IRQS,
	FF_COUNT_QUEUE_IRQS,
	FF_COUNT_QUEUES_HALTED,
	FF_COUNT_STALLED,
	FF_COUNT_CONTEXTS,
	FF_COUNT_QUEUES,
	FF_COUNT_NOTIFIERS,
	FF_COUNT_TABLE_PAGES,
	FF_COUNT_DMA_UNMAPS,
	FF_COUNT_DMA_MAPPINGS,
	FF_COUNT_PAGES_PINNED,
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
