/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All counters: FF_COUNT_ of what, its name in debugfs, and when it counts. No
 * include guard: whoever includes it says what COUNTER() makes of each.
 */
COUNTER(FAULTS, "faults")			/* Page requests read from the fault queue */
COUNTER(COALESCED, "coalesced")			/* Requests merged with another for the same page */
COUNTER(STALE_FAULTS, "stale_faults")		/* Requests mapped by then, or of a queue gone */
COUNTER(BAD_RECORDS, "bad_records")		/* Fault records that make no sense */
COUNTER(FAULT_OVERFLOWS, "fault_overflows")	/* Times the device found the fault queue full */
COUNTER(BATCHES, "batches")			/* Passes over the requests of a context */
COUNTER(GROUPS, "groups")			/* Fault groups answered */
COUNTER(RESPONSES_RESUME, "responses_resume")	/* Groups answered with "go on" */
COUNTER(RESPONSES_FAIL, "responses_fail")	/* Groups answered with "cannot be had" */
COUNTER(FAIL_MEMORY, "responses_fail_memory")	/* Those of them for want of memory */
COUNTER(FAIL_ATOMIC, "responses_fail_atomic")	/* Those for a page not to be had for itself */
COUNTER(FAIL_ENDED, "responses_fail_ended")	/* Those as the process or context was ending */
COUNTER(LOOKAHEADS_DROPPED, "lookaheads_dropped") /* Pages ahead that could not be had */
COUNTER(STREAM_PAGES, "stream_pages")		/* Pages that only a command's extent asked for */
COUNTER(USERFAULTS, "userfaults")		/* Pages that a userfaultfd handler was asked for */
COUNTER(RANGE_FAULT_CALLS, "range_fault_calls")	/* Calls of hmm_range_fault() */
COUNTER(RANGE_FAULT_MASKED, "range_fault_masked") /* Those that asked page by page */
COUNTER(RANGE_FAULT_DEFAULT, "range_fault_default") /* Those that asked by default flags */
COUNTER(RANGE_FAULT_PAGES, "range_fault_pages")	/* Pages that those calls were asked for */
COUNTER(RETRIES, "retries")			/* Tries over: invalidation, flush or table */
COUNTER(INVALIDATIONS, "invalidations")		/* Calls of the interval notifiers */
COUNTER(INVALIDATIONS_FLUSHED, "invalidations_flushed") /* Those that found something mapped */
COUNTER(NONBLOCKABLE, "nonblockable")		/* Those that were not allowed to block */
COUNTER(NONBLOCKABLE_REFUSED, "nonblockable_refused") /* Those that had to be refused for it */
COUNTER(PAGES_MAPPED, "pages_mapped")		/* 4 KiB pages entered in device page tables */
COUNTER(PAGES_ZAPPED, "pages_zapped")		/* 4 KiB pages taken out of them */
COUNTER(PAGES_DIRTIED, "pages_dirtied")		/* Those that were writable, so are marked dirty */
COUNTER(LEAVES_2M, "leaves_2m")			/* 2 MiB leaves entered */
COUNTER(LEAVES_1G, "leaves_1g")			/* 1 GiB leaves entered */
COUNTER(LEAVES_JOINED, "leaves_joined")		/* 2 MiB leaves that took the place of 4 KiB ones */
COUNTER(LEAVES_SPLIT, "leaves_split")		/* Large leaves that made place for the next size */
COUNTER(PREFETCH_CALLS, "prefetch_calls")	/* Prefetch ioctls */
COUNTER(PREFETCH_PAGES, "prefetch_pages")	/* Pages they made present, or announcements did */
COUNTER(COMMANDS, "commands")			/* Commands posted to the device */
COUNTER(COMMAND_DOORBELLS, "command_doorbells")	/* Doorbells rung for them */
COUNTER(COMMAND_WAITS, "command_waits")		/* Waits for a command that had to sleep */
COUNTER(FAULT_IRQS, "fault_irqs")		/* Interrupts of the fault queue */
COUNTER(COMMAND_IRQS, "command_irqs")		/* Interrupts of the command queue */
COUNTER(QUEUE_IRQS, "queue_irqs")		/* Interrupts for completions */
COUNTER(QUEUES_HALTED, "queues_halted")		/* Queues that the device halted */
COUNTER(STALLED, "stalled")			/* Faults that were held up for a test */
COUNTER(CONTEXTS, "contexts")			/* Contexts there are now */
COUNTER(QUEUES, "queues")			/* User-mode queues there are now */
COUNTER(NOTIFIERS, "notifiers")			/* Interval notifiers there are now */
COUNTER(TABLE_PAGES, "table_pages")		/* Page-table pages there are now */
COUNTER(DMA_UNMAPS, "dma_unmaps")		/* Times that DMA mappings were undone, 1 or many */
COUNTER(DMA_MAPPINGS, "dma_mappings")		/* DMA mappings there are now, to be undone */
COUNTER(PAGES_PINNED, "pages_pinned")		/* 4 KiB pages of registered buffers there are */
COUNTER(EXCLUSIVE, "exclusive")			/* Pages taken from the CPU for atomic operations */
COUNTER(COPIES, "copies")			/* Copies that the device was asked for */
COUNTER(MOVED_OUT, "moved_out")			/* Pages moved to device memory, as asked */
COUNTER(MOVED_PREFERRED, "moved_preferred")	/* Pages moved there as advised, by device faults */
COUNTER(ACCESS_RECORDS, "access_records")	/* Records of memory that it accesses often */
COUNTER(MOVED_OFTEN, "moved_often")		/* Pages moved there for these, as advised */
COUNTER(MOVED_BACK, "moved_back")		/* Pages moved to system memory, as asked */
COUNTER(MOVED_TOUCHED, "moved_touched")		/* Pages moved back as the CPU touched them */
COUNTER(MOVED_EVICTED, "moved_evicted")		/* Pages moved back to make room for others */
COUNTER(MOVED_UNLOAD, "moved_unload")		/* Pages moved back before the device stopped */
COUNTER(MOVES_REFUSED, "moves_refused")		/* Pages copied that mm would not have moved */
COUNTER(MOVES_DAMPED, "moves_damped")		/* Moves left out, as pages go to and fro */
COUNTER(DEVICE_PAGES, "device_pages")		/* 4 KiB pages of device memory in use */
