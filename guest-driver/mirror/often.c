// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the device accesses often goes to its memory, where that is advised.
 *
 * Its access counters tell of 64 KiB of system memory each time that the threshold is
 * reached. So what is used once, or now and then, is used where it is, and nobody pays for
 * moving it to and fro.
 */
#include <linux/moduleparam.h>

#include "hw/device.h"
#include "memory/move.h"
#include "mirror/often.h"
#include "mirror/prefer.h"

static unsigned int access_threshold = 4096;
module_param(access_threshold, uint, 0644);
MODULE_PARM_DESC(access_threshold, "Accesses (of 64 bytes) of the device to 64 KiB of memory after which these are moved to its own, where that is advised");

static void ff_often_tell(struct ff_mirror *mirror, unsigned int threshold)
{
	struct ff_command command = {
		.opcode = FF_CMD_COUNT_ACCESSES,
		.pasid = cpu_to_le32(mirror->pasid),
		.value = cpu_to_le64(threshold),
	};

	ff_command_run(mirror->ff, &command);
}

/* Has accesses counted from now on. Returns -EOPNOTSUPP if the device cannot. */
int ff_often_begin(struct ff_mirror *mirror)
{
	if (!mirror->region ||
	    !(mirror->ff->features & FF_FEATURE_ACCESS_COUNTERS))
		return -EOPNOTSUPP;
	WRITE_ONCE(mirror->counting, true);
	ff_often_go_on(mirror);
	return 0;
}

/* The device may have forgotten it in a reset, as it has the queues. */
void ff_often_go_on(struct ff_mirror *mirror)
{
	lockdep_assert(srcu_read_lock_held(&mirror->ff->unplug));
	if (READ_ONCE(mirror->counting))
		ff_often_tell(mirror, max(READ_ONCE(access_threshold), 1U));
}

/* The PASID is going to be somebody else's. */
void ff_often_end(struct ff_mirror *mirror)
{
	if (mirror->counting)
		ff_often_tell(mirror, 0);
}

/**
 * ff_often_move() - Move what the device has told of
 * @mirror: mirror of the calling process
 * @address: where the device has been often
 *
 * Of memory that the device has by a large leaf that is all of the leaf, for the CPU may
 * have it so, too.
 */
void ff_often_move(struct ff_mirror *mirror, u64 address)
{
	u64 size = FF_ACCESS_COUNTER_BYTES;
	unsigned long start, end;

	if (address >= FF_PGTABLE_END)
		return;
	scoped_guard(mutex, &mirror->lock)
		if (ff_pgtable_level(&mirror->pgt, address))
			size = FF_LEVEL_SIZE(1);
	start = ALIGN_DOWN(address, size);
	end = start + size;
	if (ff_prefer_at(mirror, address, &start, &end) != FF_PREFER_OFTEN)
		return;
	struct ff_move *move __free(ff_move) =
		ff_move_alloc(mirror->region, FF_COUNT_MOVED_OFTEN,
			      FF_BLOCK_PAGES);
	if (move)
		ff_prefer_move_range(move, mirror, address, start, end);
}
