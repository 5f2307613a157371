// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts: from open to close.
 *
 * A context ends in two steps. First the device forgets it: queues, PASID,
 * page table. That needs the fault service to be out of it, so it happens with
 * the last reference, which may be that of the work item; close() does not
 * wait for a fault that is stuck in some file system, and a killed process
 * goes away. If the driver is unbound before, ff_ctx_detach_all() does it.
 * Then the structure is freed, when its file is closed too.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "ff_batch.h"
#include "ff_ctx.h"
#include "ff_drv.h"
#include "ff_queue.h"
#include "ff_resident.h"

static void ff_ctx_entry_set(struct ff_ctx *ctx, u64 root)
{
	struct ff_context *entry = &ctx->ff->context_table[ctx->mirror.pasid];

	/* The table first, then the way to it. */
	dma_wmb();
	WRITE_ONCE(entry->root, cpu_to_le64(root));
}

/**
 * ff_ctx_create() - Make a context for the calling process
 * @ff: device; the caller holds its unplug side
 * @mapping: of the file that is being opened
 *
 * Return: context or ERR_PTR().
 */
struct ff_ctx *ff_ctx_create(struct ff_device *ff,
			     struct address_space *mapping)
{
	struct ff_ctx *ctx;
	int ret = -ENOMEM;

	if (!current->mm)
		return ERR_PTR(-EINVAL);
	ctx = kzalloc_obj(*ctx);
	if (!ctx)
		return ERR_PTR(ret);

	kref_init(&ctx->ref);
	ctx->ff = ff;
	ctx->mapping = mapping;
	mutex_init(&ctx->lock);
	INIT_LIST_HEAD(&ctx->ready);
	INIT_WORK(&ctx->service, ff_batch_work);
	ctx->requests = ff_batch_alloc(ff);
	ctx->scratch = ff_scratch_alloc();
	if (!ctx->requests || !ctx->scratch)
		goto free;
	ret = ff_mirror_open(&ctx->mirror, ff, current->mm);
	if (ret)
		goto free;

	/* PASID 0 is never used, so that a zeroed record means nobody. */
	ret = xa_alloc(&ff->contexts, &ctx->mirror.pasid, ctx,
		       XA_LIMIT(1, FF_CONTEXTS - 1), GFP_KERNEL);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto close;
	}
	ff_ctx_entry_set(ctx, ctx->mirror.pgt.root->dma | FF_CONTEXT_VALID);
	ff_device_get(ff);
	ff_count(&ff->counters, FF_COUNT_CONTEXTS, 1);
	return ctx;

close:
	ff_mirror_close(&ctx->mirror);
free:
	kfree(ctx->scratch);
	kvfree(ctx->requests);
	kfree(ctx);
	return ERR_PTR(ret);
}

/* The device forgets the context. Nobody uses the mirror any more. */
static void ff_ctx_detach(struct ff_ctx *ctx)
{
	struct ff_device *ff = ctx->ff;

	ff_queues_destroy(ctx);
	ff_ctx_entry_set(ctx, 0);
	ff_scratch_free(&ctx->mirror, ctx->scratch);
	ff_resident_unmap(ctx);
	ff_mirror_close(&ctx->mirror);
	ctx->detached = true;

	ff_count(&ff->counters, FF_COUNT_CONTEXTS, -1);
	xa_erase(&ff->contexts, ctx->mirror.pasid);
	wake_up_all(&ff->idle);
}

static void ff_ctx_release(struct kref *ref)
{
	struct ff_ctx *ctx = container_of(ref, struct ff_ctx, ref);

	if (!ctx->detached)
		ff_ctx_detach(ctx);
	ff_device_put(ctx->ff);
	kvfree(ctx->requests);
	kfree(ctx);
}

void ff_ctx_put(struct ff_ctx *ctx)
{
	kref_put(&ctx->ref, ff_ctx_release);
}

/**
 * ff_ctx_close() - The file is closed
 * @ctx: context; no ioctl is under way and no doorbell is mapped
 */
void ff_ctx_close(struct ff_ctx *ctx)
{
	struct ff_device *ff = ctx->ff;
	int unplug;

	WRITE_ONCE(ctx->mirror.closing, true);
	mutex_lock(&ctx->lock);
	ctx->mapping = NULL;
	mutex_unlock(&ctx->lock);

	ff_device_get(ff);
	unplug = srcu_read_lock(&ff->unplug);
	if (!READ_ONCE(ff->unplugged))
		ff_queues_destroy(ctx);
	ff_ctx_put(ctx);
	srcu_read_unlock(&ff->unplug, unplug);
	ff_device_put(ff);
}

/**
 * ff_ctx_detach_all() - The driver is unbound: take all contexts from the device
 * @ff: device, stopped; neither ioctls nor the fault service run any more
 */
void ff_ctx_detach_all(struct ff_device *ff)
{
	struct ff_ctx *ctx;
	unsigned long pasid;

	xa_lock(&ff->contexts);
	xa_for_each(&ff->contexts, pasid, ctx) {
		if (!kref_get_unless_zero(&ctx->ref))
			continue;
		xa_unlock(&ff->contexts);
		if (!ctx->detached)
			ff_ctx_detach(ctx);
		ff_ctx_put(ctx);
		xa_lock(&ff->contexts);
	}
	xa_unlock(&ff->contexts);
	wait_event(ff->idle, xa_empty(&ff->contexts));
}
