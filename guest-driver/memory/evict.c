// SPDX-License-Identifier: GPL-2.0-only
/*
 * Eviction: bringing back what is in device memory, whoever has it mapped.
 *
 * It goes by frames and takes no lock of an mm, for it makes room for one process with
 * the pages of another. A large page needs a large one to go to: only who knows where
 * it is mapped could split it.
 */
#include <linux/delay.h>
#include <linux/migrate.h>

#include "memory/move.h"

/* Blocks to try before what needs room is left where it is. */
#define FF_EVICT_TRIES	16

/* How often to try to bring back the last pages, which somebody else may hold. */
#define FF_EVICT_ROUNDS	100
#define FF_EVICT_PAUSE_MS	20

/*
 * Brings back what can be of a block. Returns how many pages that were, or -EIO if the
 * device does not copy.
 */
static long ff_evict_block(struct ff_move *move, unsigned long frame)
{
	struct percpu_ref *frames = &move->region->pgmap.ref;
	unsigned long moved;
	int ret;

	if (!percpu_ref_tryget_live(frames))
		return 0;
	move->direction = DMA_FROM_DEVICE;
	move->losses = READ_ONCE(move->region->losses);
	move->vma = NULL;
	move->nr = FF_BLOCK_PAGES;
	memset(move->dst, 0, array_size(move->nr, sizeof(*move->dst)));
	migrate_device_range(move->src, frame, move->nr);
	ret = ff_move_copy(move);
	migrate_device_pages(move->src, move->dst, move->nr);
	moved = ff_move_done(move);
	migrate_device_finalize(move->src, move->dst, move->nr);
	percpu_ref_put(frames);
	return ret == -EIO ? ret : moved;
}

/*
 * Makes room for so many pages, of what was used longest ago. There may be none all
 * the same: somebody else may take it, or hold what is there.
 */
void ff_evict_for(struct ff_region *region, unsigned long pages)
{
	unsigned int tries = FF_EVICT_TRIES;
	unsigned long frame;

	if (!ff_region_is_short(region, pages))
		return;
	struct ff_move *move __free(ff_move) =
		ff_move_alloc(region, FF_COUNT_MOVED_EVICTED, FF_BLOCK_PAGES);
	if (!move)
		return;
	while (tries-- && ff_region_is_short(region, pages)) {
		frame = ff_region_oldest(region);
		if (!frame)
			break;
		ff_evict_block(move, frame);
		cond_resched();
	}
}

/*
 * Brings back all there is. What is left in the end has come there meanwhile, the
 * device has lost it, or it has gone.
 */
void ff_evict_all(struct ff_region *region)
{
	unsigned int rounds = FF_EVICT_ROUNDS;
	unsigned long frame, i;
	bool any, broken;
	long moved;

	struct ff_move *move __free(ff_move) =
		ff_move_alloc(region, FF_COUNT_MOVED_UNLOAD, FF_BLOCK_PAGES);
	if (!move)
		return;
	while (rounds-- && !READ_ONCE(region->ff->lost)) {
		any = false;
		broken = false;
		for (i = 0; i < region->nr_blocks; i++) {
			frame = ff_region_oldest(region);
			if (!frame || READ_ONCE(region->ff->lost))
				return;
			moved = ff_evict_block(move, frame);
			any |= moved > 0;
			broken |= moved == -EIO;
			cond_resched();
		}
		/* Of a device that copies nothing more is not to be had. */
		if (!any && broken)
			return;
		if (!any)
			msleep(FF_EVICT_PAUSE_MS);
	}
}
