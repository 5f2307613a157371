// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of the driver's own in the address space of a context, for a queue
 * that the driver itself submits to.
 *
 * The device has one bit of address more than a process, so what lies in the
 * upper half is in nobody's way: no user address, and so no interval notifier,
 * ever covers it. It is taken out before the mirror is closed, for it is not
 * to be marked dirty as pages of a process are.
 */
#include <linux/dma-mapping.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "file/resident.h"
#include "hw/device.h"
#include "mirror/invalidate.h"

/* Is there room above what processes can have? Not with 5-level page tables. */
bool ff_resident_possible(void)
{
	return TASK_SIZE_MAX <= FF_RESIDENT_START;
}

static void ff_resident_free(struct ff_device *ff, struct ff_resident *resident)
{
	dma_free_coherent(ff->dev, resident->size, resident->memory,
			  resident->dma);
	kfree(resident);
}

/*
 * Allocates memory and maps it at FF_RESIDENT_START until ff_resident_unmap(): whole
 * pages, at most what one table of level 0 maps.
 */
int ff_resident_map(struct ff_ctx *ctx, size_t size)
{
	const u64 flags = FF_PTE_VALID | FF_PTE_LEAF | FF_PTE_READ |
			  FF_PTE_WRITE;
	struct ff_pgtable *pgt = &ctx->mirror.pgt;
	struct ff_resident *resident;
	struct ff_leaf leaf = {};
	size_t offset;
	int ret;

	resident = kzalloc_obj(*resident, GFP_KERNEL_ACCOUNT);
	if (!resident)
		return -ENOMEM;
	resident->size = size;
	resident->memory = dma_alloc_coherent(ctx->ff->dev, size,
					      &resident->dma,
					      GFP_KERNEL_ACCOUNT);
	if (!resident->memory) {
		kfree(resident);
		return -ENOMEM;
	}
	ret = ff_mirror_lock_to_map(&ctx->mirror);
	if (ret)
		goto free;
	for (offset = 0; offset < size && !ret; offset += PAGE_SIZE) {
		leaf.entry = flags | (resident->dma + offset);
		ret = ff_pgtable_map(pgt, FF_RESIDENT_START + offset, 0, leaf,
				     &ctx->mirror.spares);
	}
	mutex_unlock(&ctx->mirror.lock);
	if (!ret) {
		ctx->resident = resident;
		return 0;
	}
	ff_resident_zap(ctx, FF_RESIDENT_START, size);
free:
	ff_resident_free(ctx->ff, resident);
	return ret;
}

/*
 * Takes memory in the upper half from the device, and returns when it cannot reach
 * that any more. Marks nothing dirty: whoever unpins it does, or there is nothing to
 * write it back to.
 */
void ff_resident_zap(struct ff_ctx *ctx, u64 start, u64 size)
{
	struct ff_mirror *mirror = &ctx->mirror;
	struct ff_gather gather;
	u64 fence;

	ff_gather_init(&gather, NULL, NULL);
	scoped_guard(mutex, &mirror->lock) {
		ff_pgtable_zap(&mirror->pgt, start, start + size, &gather);
		fence = ff_mirror_flush(mirror, start, size, true);
	}
	ff_command_wait(ctx->ff, fence);
	ff_tables_free(&mirror->pgt, &gather.tables);
}

void ff_resident_unmap(struct ff_ctx *ctx)
{
	struct ff_resident *resident = ctx->resident;

	if (!resident)
		return;
	ctx->resident = NULL;
	ff_resident_zap(ctx, FF_RESIDENT_START, resident->size);
	ff_resident_free(ctx->ff, resident);
}
