/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Upward calls: all that a storey asks of one above it, each with its reason.
 *
 * The storey above registers with static_call_update(). Where nobody has, the
 * call does nothing and costs nothing.
 *
 * Beside these there are functions that the storey above hands down:
 * ff_gather_init() takes one for the writable entries that ff_pgtable_zap() takes
 * out, for what a page is to the mirror the page table does not know;
 * ff_snapshot_range() one that judges each page, ff_service_init() a work queue on
 * which a context ends. And testing/break.c replaces three of the mirror's own
 * functions with worse ones: ff_mark_dirty, ff_exclusive_isolate, ff_interval_ops.
 */
#ifndef FF_UPWARD_H
#define FF_UPWARD_H

#include <linux/static_call.h>

struct ff_device;
struct ff_fault;
struct ff_mirror;
struct ff_service;

/**
 * enum ff_stage - How far a fault has come
 * @FF_STAGE_NONE: nowhere
 * @FF_STAGE_POSTED: the device has written its record, and nobody reads it
 * @FF_STAGE_DRAINED: the group is complete, and nobody is told
 * @FF_STAGE_READY: the service knows, and has not taken it
 * @FF_STAGE_TAKEN: the service has taken it, and done nothing
 * @FF_STAGE_FOUND: hmm_range_fault() has found the pages, nothing is mapped
 * @FF_STAGE_SERVED: the pages are mapped, the device has no answer
 */
enum ff_stage {
	FF_STAGE_NONE,
	FF_STAGE_POSTED,
	FF_STAGE_DRAINED,
	FF_STAGE_READY,
	FF_STAGE_TAKEN,
	FF_STAGE_FOUND,
	FF_STAGE_SERVED,
};

/*
 * hw/ to service/: a fault record was read. The ring is the device's, but whose
 * the record is only the owner of the queues knows. Under ff->queue_lock.
 */
typedef void (ff_up_fault_t)(struct ff_device *ff,
			     const struct ff_fault *fault);
DECLARE_STATIC_CALL(ff_up_fault, ff_up_fault_t);

/*
 * service/ to testing/: the groups of a batch have been taken. A selftest's node
 * knows all that its own commands will need, and has it made present at once.
 */
typedef void (ff_up_taken_t)(struct ff_service *service);
DECLARE_STATIC_CALL(ff_up_taken, ff_up_taken_t);

/*
 * mirror/ and service/ to testing/: a fault has come to a stage, at which a test
 * may hold it up. Sleeps; called with no lock held.
 */
typedef void (ff_up_reached_t)(struct ff_mirror *mirror, enum ff_stage stage);
DECLARE_STATIC_CALL(ff_up_reached, ff_up_reached_t);

/*
 * hw/ and service/ to testing/: whether a test leaves out what comes next, where
 * nobody may sleep. The test makes up for it later.
 */
typedef long (ff_up_skips_t)(struct ff_device *ff, enum ff_stage stage);
DECLARE_STATIC_CALL(ff_up_skips, ff_up_skips_t);

#endif /* FF_UPWARD_H */
