// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts: from open to close.
 *
 * Opening waits for nobody, as misc_open() holds a lock that all open() of such
 * devices take. The first ioctl binds the context: to follow an address space the
 * mmap lock is taken, and who has that may be waiting for a file system.
 *
 * A context ends in two steps, neither of which closing the file waits for. The
 * device forgets it: queues, PASID, page table. That needs nothing but the device,
 * and is done at once in a work item, or by ff_ctx_detach_all() when the driver is
 * unbound. Then its service ends and the structure is freed. That can take as long
 * as a fault that is being served, or as the process is stopped or frozen; until
 * then the module stays.
 */
#include <linux/cred.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "file/ctx.h"
#include "file/resident.h"
#include "hw/device.h"

/* Where contexts end; only what is left of them when the module is unloaded. */
static struct workqueue_struct *ff_ctx_ends;

static void ff_ctx_entry_set(struct ff_ctx *ctx, u64 root)
{
	struct ff_context *entry = &ctx->ff->context_table[ctx->mirror.pasid];

	/* The table first, then the way to it. */
	dma_wmb();
	WRITE_ONCE(entry->root, cpu_to_le64(root));
}

/* The device forgets the context. */
static void ff_ctx_detach(struct ff_ctx *ctx)
{
	struct ff_device *ff = ctx->ff;

	guard(mutex)(&ctx->state);
	if (ctx->detached)
		return;
	ff_queues_destroy(ctx);
	ff_ctx_entry_set(ctx, 0);
	ff_resident_unmap(ctx);
	ff_pins_release(ctx);
	ff_mirror_detach(&ctx->mirror);
	ctx->detached = true;
	ff_service_interrupt(&ctx->service);

	ff_count(&ff->counters, FF_COUNT_CONTEXTS, -1);
	xa_erase(&ff->contexts, ctx->mirror.pasid);
}

static void ff_ctx_free(struct kref *ref)
{
	struct ff_ctx *ctx = container_of(ref, struct ff_ctx, ref);

	ff_service_free(&ctx->service);
	ff_device_put(ctx->ff);
	mmdrop(ctx->mirror.mm);
	kfree(ctx);
	/* It is in use for whoever closes the file, or waits for the work item. */
	module_put(THIS_MODULE);
}

static void ff_ctx_put(struct ff_ctx *ctx)
{
	kref_put(&ctx->ref, ff_ctx_free);
}

static void ff_ctx_detach_work(struct work_struct *work)
{
	ff_ctx_detach(container_of(work, struct ff_ctx, detach));
}

static void ff_ctx_end(struct work_struct *work)
{
	struct ff_ctx *ctx = container_of(work, struct ff_ctx, service.end);

	cancel_work_sync(&ctx->detach);
	ff_ctx_detach(ctx);
	ff_service_stop(&ctx->service);
	ff_mirror_close(&ctx->mirror);
	ff_ctx_put(ctx);
}

/* Makes a context known to the device. */
static int ff_ctx_begin(struct ff_ctx *ctx)
{
	struct ff_device *ff = ctx->ff;
	int ret;

	ret = ff_mirror_open(&ctx->mirror, ff);
	if (ret)
		return ret;
	/* PASID 0 is never used, so that a zeroed record means nobody. */
	ret = xa_alloc(&ff->contexts, &ctx->mirror.pasid, ctx,
		       XA_LIMIT(1, FF_COPY_PASID - 1), GFP_KERNEL_ACCOUNT);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto close;
	}
	ret = ff_quota_context(ctx);
	if (!ret)
		ret = ff_service_start(&ctx->service);
	if (ret)
		goto erase;
	ff_ctx_entry_set(ctx, ctx->mirror.pgt.root->dma | FF_CONTEXT_VALID);
	ff_count(&ff->counters, FF_COUNT_CONTEXTS, 1);
	return 0;

erase:
	xa_erase(&ff->contexts, ctx->mirror.pasid);
close:
	ff_mirror_detach(&ctx->mirror);
	ff_mirror_close(&ctx->mirror);
	return ret;
}

/*
 * Makes a context, not bound yet, for the calling process, which opens a file with
 * @mapping; its pages can be in @region. Or ERR_PTR().
 */
struct ff_ctx *ff_ctx_create(struct ff_device *ff, struct ff_region *region,
			     struct address_space *mapping)
{
	struct ff_ctx *ctx;

	if (!current->mm)
		return ERR_PTR(-EINVAL);
	ctx = kzalloc_obj(*ctx, GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return ERR_PTR(-ENOMEM);

	kref_init(&ctx->ref);
	kref_get(&ff->ref);
	__module_get(THIS_MODULE);
	mmgrab(current->mm);
	ctx->ff = ff;
	ctx->uid = current_uid();
	ctx->mirror.mm = current->mm;
	ctx->mirror.region = region;
	ctx->mapping = mapping;
	mutex_init(&ctx->state);
	ff_pins_init(&ctx->pins);
	INIT_WORK(&ctx->detach, ff_ctx_detach_work);
	INIT_WORK(&ctx->service.end, ff_ctx_end);
	return ctx;
}

static int ff_ctx_bind_locked(struct ff_ctx *ctx)
{
	struct ff_device *ff = ctx->ff;
	int section, ret;

	lockdep_assert_held(&ctx->state);
	ret = ff_service_init(&ctx->service, ff, &ctx->mirror, ff_ctx_ends);
	if (!ret)
		ret = ff_mirror_follow(&ctx->mirror);
	if (ret)
		return ret;
	if (!ff_device_enter(ff, &section))
		return -ENODEV;
	ret = ff_ctx_begin(ctx);
	ff_device_exit(ff, section);
	if (!ret)
		smp_store_release(&ctx->bound, true); /* behind all of it */
	return ret;
}

/**
 * ff_ctx_bind() - Make a context known to the device, if it is not yet
 * @ctx: context of the calling process
 *
 * Return: 0; -EDQUOT if its user has too many; -ENOSPC if no PASID is free;
 * -EINTR or -ERESTARTSYS if a signal came; -ENODEV; -ENOMEM; -EAGAIN if the process
 * may have no more threads.
 */
int ff_ctx_bind(struct ff_ctx *ctx)
{
	int ret = 0;

	if (smp_load_acquire(&ctx->bound)) /* before all of it */
		return 0;
	scoped_cond_guard(mutex_intr, return -ERESTARTSYS, &ctx->state) {
		if (!ctx->bound)
			ret = ff_ctx_bind_locked(ctx);
		if (ret)
			ff_service_free(&ctx->service);
	}
	return ret;
}

/*
 * The file is closed: no ioctl is under way and no doorbell is mapped. Waits for no
 * process.
 */
void ff_ctx_close(struct ff_ctx *ctx)
{
	if (!ctx->bound) {
		ff_ctx_put(ctx);
		return;
	}
	kref_get(&ctx->ref);
	WRITE_ONCE(ctx->mirror.closing, true);
	scoped_guard(mutex, &ctx->service.lock)
		ctx->mapping = NULL;
	queue_work(ff_ctx_ends, &ctx->detach);
	ff_service_close(&ctx->service);
	ff_ctx_put(ctx);
}

static void ff_ctx_drop(struct ff_ctx *ctx)
{
	guard(mutex)(&ctx->state);
	if (!ctx->detached)
		ff_mirror_drop(&ctx->mirror, 0, FF_PGTABLE_END);
}

static void ff_ctx_for_each(struct ff_device *ff,
			    void (*call)(struct ff_ctx *ctx))
{
	struct ff_ctx *ctx;
	unsigned long pasid;

	xa_lock(&ff->contexts);
	xa_for_each(&ff->contexts, pasid, ctx) {
		/* They are freed only when they are no longer found here. */
		kref_get(&ctx->ref);
		xa_unlock(&ff->contexts);
		call(ctx);
		ff_ctx_put(ctx);
		xa_lock(&ff->contexts);
	}
	xa_unlock(&ff->contexts);
}

/*
 * The driver is unbound: takes all contexts from the device, which has stopped. No ioctl
 * is under way and no fault is read.
 */
void ff_ctx_detach_all(struct ff_device *ff)
{
	ff_ctx_for_each(ff, ff_ctx_detach);
}

/* Takes all pages from the device, which has stopped and will find other things there. */
void ff_ctx_drop_all(struct ff_device *ff)
{
	ff_ctx_for_each(ff, ff_ctx_drop);
}

int __init ff_ctx_init(void)
{
	ff_ctx_ends = alloc_workqueue("farfault", WQ_UNBOUND, 0);
	return ff_ctx_ends ? 0 : -ENOMEM;
}

/* Waits until no context is left. */
void ff_ctx_exit(void)
{
	destroy_workqueue(ff_ctx_ends);
}
