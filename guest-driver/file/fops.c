// SPDX-License-Identifier: GPL-2.0-only
/*
 * File operations: an open file is a context, for the address space that
 * opened it and for no other.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "hw/device.h"

static int ff_open(struct inode *inode, struct file *file)
{
	struct ff_device *ff =
		container_of(file->private_data, struct ff_device, misc);
	struct ff_ctx *ctx = ff_ctx_create(ff, ff->regions[0],
					      file->f_mapping);

	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	file->private_data = ctx;
	return nonseekable_open(inode, file);
}

/* Every time that a descriptor is closed, by whatever process. */
static int ff_flush(struct file *file, fl_owner_t owner)
{
	struct ff_ctx *ctx = file->private_data;

	ff_service_flush(&ctx->service);
	return 0;
}

static int ff_release(struct inode *inode, struct file *file)
{
	ff_ctx_close(file->private_data);
	return 0;
}

/* FF_IOC_INFO */
static int ff_ioctl_info(struct ff_ctx *ctx, void *arg)
{
	struct ff_info *info = arg;

	*info = (struct ff_info) {
		.version = FF_UAPI_VERSION,
		.pasid = ctx->mirror.pasid,
		.queues = ctx->ff->nr_queues,
		.engines = ctx->ff->nr_engines,
		.lookahead = ctx->ff->lookahead,
		.vram = ctx->ff->vram,
	};
	return 0;
}

/**
 * struct ff_ioctl - An ioctl
 * @cmd: its number, which says how much to copy in and out
 * @call: carries it out on the copy
 * @enter: call it between ff_device_enter() and ff_device_exit(); the others wait
 *	for pages of the process, and do so themselves where they use the device
 */
struct ff_ioctl {
	unsigned int cmd;
	int (*call)(struct ff_ctx *ctx, void *arg);
	bool enter;
};

static const struct ff_ioctl ff_ioctls[] = {
	{ FF_IOC_INFO, ff_ioctl_info },
	{ FF_IOC_QUEUE_CREATE, ff_ioctl_queue_create, true },
	{ FF_IOC_QUEUE_DESTROY, ff_ioctl_queue_destroy, true },
	{ FF_IOC_WAIT, ff_ioctl_wait },
	{ FF_IOC_PREFETCH, ff_ioctl_prefetch },
	{ FF_IOC_SNAPSHOT, ff_ioctl_snapshot },
	{ FF_IOC_ADVISE, ff_ioctl_advise },
	{ FF_IOC_REGISTER, ff_ioctl_register },
	{ FF_IOC_UNREGISTER, ff_ioctl_unregister, true },
	{ FF_IOC_MIGRATE, ff_ioctl_migrate },
};

union ff_ioctl_arg {
	struct ff_info info;
	struct ff_queue_create create;
	struct ff_queue_destroy destroy;
	struct ff_wait wait;
	struct ff_prefetch prefetch;
	struct ff_snapshot snapshot;
	struct ff_advise advise;
	struct ff_register reg;
	struct ff_unregister unregister;
	struct ff_migrate migrate;
};

static const struct ff_ioctl *ff_ioctl_find(unsigned int cmd)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ff_ioctls); i++)
		if (ff_ioctls[i].cmd == cmd)
			return &ff_ioctls[i];
	return NULL;
}

static int ff_ioctl_call(const struct ff_ioctl *ioctl, struct ff_ctx *ctx,
			 void *arg)
{
	int section, ret;

	if (!ioctl->enter)
		return READ_ONCE(ctx->ff->unplugged) ? -ENODEV :
			ioctl->call(ctx, arg);
	if (!ff_device_enter(ctx->ff, &section))
		return -ENODEV;
	ret = ioctl->call(ctx, arg);
	ff_device_exit(ctx->ff, section);
	return ret;
}

static long ff_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	const struct ff_ioctl *ioctl = ff_ioctl_find(cmd);
	void __user *pointer = (void __user *)user;
	struct ff_ctx *ctx = file->private_data;
	union ff_ioctl_arg arg = {};
	int ret;

	if (!ioctl)
		return -ENOTTY;
	if (current->mm != ctx->mirror.mm)
		return -EPERM;
	if (_IOC_DIR(cmd) & _IOC_WRITE &&
	    copy_from_user(&arg, pointer, _IOC_SIZE(cmd)))
		return -EFAULT;

	ret = ff_ctx_bind(ctx);
	if (!ret)
		ret = ff_ioctl_call(ioctl, ctx, &arg);
	if (!ret && _IOC_DIR(cmd) & _IOC_READ &&
	    copy_to_user(pointer, &arg, _IOC_SIZE(cmd)))
		return -EFAULT;
	return ret;
}

static int ff_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct ff_ctx *ctx = file->private_data;

	if (current->mm != ctx->mirror.mm)
		return -EPERM;
	if (!smp_load_acquire(&ctx->bound)) /* before all of it */
		return -ENOENT;
	return READ_ONCE(ctx->ff->unplugged) ? -ENODEV :
		ff_doorbell_mmap(ctx, vma);
}

const struct file_operations ff_fops = {
	.owner = THIS_MODULE,
	.open = ff_open,
	.flush = ff_flush,
	.release = ff_release,
	.unlocked_ioctl = ff_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = ff_mmap,
};
