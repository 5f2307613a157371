/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All counters: FF_COUNT_ of what, its name in debugfs, and when it counts. No
 * include guard: whoever includes it says what COUNTER() makes of each.
 */
/* Page requests read from the fault queue */
COUNTER(FAULTS, "faults")
/* Requests merged with another for the same page */
COUNTER(COALESCED, "coalesced")
/*
 * Requests for what was mapped well enough by then, or of queues that are
 * gone
 */
COUNTER(STALE_FAULTS, "stale_faults")
/* Fault records that make no sense */
COUNTER(BAD_RECORDS, "bad_records")
/* Times that the device found the fault queue full */
COUNTER(FAULT_OVERFLOWS, "fault_overflows")
/* Passes of the service over the requests of a context */
COUNTER(BATCHES, "batches")
/* Fault groups answered */
COUNTER(GROUPS, "groups")
/* Groups answered with "go on" */
COUNTER(RESPONSES_RESUME, "responses_resume")
/* Groups answered with "cannot be had" */
COUNTER(RESPONSES_FAIL, "responses_fail")
/* Those of them for want of memory */
COUNTER(FAIL_MEMORY, "responses_fail_memory")
/*
 * Those because the process or its context was ending; the rest is for
 * addresses
 */
COUNTER(FAIL_ENDED, "responses_fail_ended")
/* Pages ahead that could not be had */
COUNTER(LOOKAHEADS_DROPPED, "lookaheads_dropped")
/*
 * Pages that no record asked for, but that a command had said it will come
 * to
 */
COUNTER(STREAM_PAGES, "stream_pages")
/* Pages that a userfaultfd handler was asked for */
COUNTER(USERFAULTS, "userfaults")
/* Calls of hmm_range_fault() */
COUNTER(RANGE_FAULT_CALLS, "range_fault_calls")
/* Those that asked page by page */
COUNTER(RANGE_FAULT_MASKED, "range_fault_masked")
/* Those that asked by default flags */
COUNTER(RANGE_FAULT_DEFAULT, "range_fault_default")
/* Pages that those calls were asked for */
COUNTER(RANGE_FAULT_PAGES, "range_fault_pages")
/*
 * Tries over again: an invalidation came between, or its flush or a table
 * was waited for
 */
COUNTER(RETRIES, "retries")
/* Calls of the interval notifiers */
COUNTER(INVALIDATIONS, "invalidations")
/* Those that found something mapped */
COUNTER(INVALIDATIONS_FLUSHED, "invalidations_flushed")
/* Those that were not allowed to block */
COUNTER(NONBLOCKABLE, "nonblockable")
/* Those that had to be refused for it */
COUNTER(NONBLOCKABLE_REFUSED, "nonblockable_refused")
/* 4 KiB pages entered in device page tables */
COUNTER(PAGES_MAPPED, "pages_mapped")
/* 4 KiB pages taken out of them */
COUNTER(PAGES_ZAPPED, "pages_zapped")
/* 4 KiB pages that were writable, and so are marked dirty */
COUNTER(PAGES_DIRTIED, "pages_dirtied")
/* 2 MiB leaves entered */
COUNTER(LEAVES_2M, "leaves_2m")
/* 1 GiB leaves entered */
COUNTER(LEAVES_1G, "leaves_1g")
/* 2 MiB leaves that took the place of 4 KiB ones */
COUNTER(LEAVES_JOINED, "leaves_joined")
/* Large leaves that made place for those of the next size */
COUNTER(LEAVES_SPLIT, "leaves_split")
/* Prefetch ioctls */
COUNTER(PREFETCH_CALLS, "prefetch_calls")
/*
 * Pages they made present, or the service ahead of a command of the
 * driver's own
 */
COUNTER(PREFETCH_PAGES, "prefetch_pages")
/* Commands posted to the device */
COUNTER(COMMANDS, "commands")
/* Doorbells rung for them */
COUNTER(COMMAND_DOORBELLS, "command_doorbells")
/* Waits for a command that had to sleep */
COUNTER(COMMAND_WAITS, "command_waits")
/* Interrupts of the fault queue */
COUNTER(FAULT_IRQS, "fault_irqs")
/* Interrupts of the command queue */
COUNTER(COMMAND_IRQS, "command_irqs")
/* Interrupts for completions */
COUNTER(QUEUE_IRQS, "queue_irqs")
/* Queues that the device halted */
COUNTER(QUEUES_HALTED, "queues_halted")
/* Faults that were held up for a test */
COUNTER(STALLED, "stalled")
/* Contexts there are now */
COUNTER(CONTEXTS, "contexts")
/* User-mode queues there are now */
COUNTER(QUEUES, "queues")
/* Interval notifiers there are now */
COUNTER(NOTIFIERS, "notifiers")
/* Page-table pages there are now */
COUNTER(TABLE_PAGES, "table_pages")
/* Times that DMA mappings were undone, one or many at once */
COUNTER(DMA_UNMAPS, "dma_unmaps")
/* DMA mappings there are now, which have to be undone */
COUNTER(DMA_MAPPINGS, "dma_mappings")
/* 4 KiB pages of registered buffers there are now */
COUNTER(PAGES_PINNED, "pages_pinned")
