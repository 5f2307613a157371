// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/hmm_dmirror0 and 1: the interface of the kernel's HMM selftest
 * (tools/testing/selftests/mm/hmm-tests.c), with this device behind it rather
 * than one that is simulated in lib/test_hmm.c. With the module's parameter
 * dmirror=1; test_hmm, which has nodes of the same names, must not be loaded.
 *
 * An open file is an ordinary context, with a queue that the driver submits to.
 */
#include <linux/hmm.h>
#include <linux/ioctl.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "file/ctx.h"
#include "file/resident.h"
#include "hw/device.h"
#include "memory/region.h"
#include "testing/dmirror.h"
#include "testing/testing.h"

static bool ff_dmirror_wanted;
module_param_named(dmirror, ff_dmirror_wanted, bool, 0444);
MODULE_PARM_DESC(dmirror, "Offer /dev/hmm_dmirror0 and 1 for the kernel's hmm-tests");

#define FF_DMIRROR_IOC(nr)	_IOWR('H', nr, struct ff_dmirror_cmd)

/* Numbers of the ioctls, and how many there are. */
#define FF_DMIRROR_READ		0
#define FF_DMIRROR_WRITE	1
#define FF_DMIRROR_TO_DEVICE	2
#define FF_DMIRROR_TO_SYSTEM	3
#define FF_DMIRROR_SNAPSHOT	4
#define FF_DMIRROR_EXCLUSIVE	5
#define FF_DMIRROR_CHECK_EXCLUSIVE	6
#define FF_DMIRROR_EVICT	7
#define FF_DMIRROR_FLAGS	8
#define FF_DMIRROR_READ_UNLOCKED	9
#define FF_DMIRROR_COMMANDS	10

/* What a snapshot says of a page; the middle ones are combined. */
#define FF_DMIRROR_NONE		0x00
#define FF_DMIRROR_CAN_READ	0x01
#define FF_DMIRROR_CAN_WRITE	0x02
#define FF_DMIRROR_PMD		0x04
#define FF_DMIRROR_PUD		0x08
#define FF_DMIRROR_ZERO		0x10
#define FF_DMIRROR_PRIVATE	0x20
#define FF_DMIRROR_ERROR	0xff

/* The tests take number 2 and on for devices with coherent memory. */
#define FF_DMIRROR_NODES	2

/* More is not needed of a mapping that is there to be looked at. */
#define FF_DMIRROR_MMAP_SIZE	SZ_2M

/**
 * struct ff_dmirror_node - A node
 * @misc: /dev/hmm_dmirrorN
 * @name: its name
 * @ff: device behind it
 * @region: its part of the device's memory, or NULL
 */
struct ff_dmirror_node {
	struct miscdevice misc;
	char name[16];
	struct ff_device *ff;
	struct ff_region *region;
};

static int ff_dmirror_open(struct inode *inode, struct file *file)
{
	struct ff_dmirror_node *node =
		container_of(file->private_data, struct ff_dmirror_node, misc);
	struct ff_dmirror *dmirror __free(kfree) =
		kzalloc_obj(*dmirror, GFP_KERNEL_ACCOUNT);

	if (!dmirror)
		return -ENOMEM;
	mutex_init(&dmirror->lock);
	dmirror->ctx = ff_ctx_create(node->ff, node->region, NULL);
	if (IS_ERR(dmirror->ctx))
		return PTR_ERR(dmirror->ctx);
	file->private_data = no_free_ptr(dmirror);
	return nonseekable_open(inode, file);
}

static int ff_dmirror_flush(struct file *file, fl_owner_t owner)
{
	struct ff_dmirror *dmirror = file->private_data;

	ff_service_flush(&dmirror->ctx->service);
	return 0;
}

static int ff_dmirror_release(struct inode *inode, struct file *file)
{
	struct ff_dmirror *dmirror = file->private_data;

	ff_dmirror_copy_fini(dmirror);
	ff_ctx_close(dmirror->ctx);
	kfree(dmirror);
	return 0;
}

static u8 ff_dmirror_judge(struct ff_mirror *mirror, unsigned long address,
			   unsigned long pfn)
{
	unsigned int shift = hmm_pfn_to_map_order(pfn) + PAGE_SHIFT;
	u8 byte;

	if (pfn & HMM_PFN_ERROR)
		return FF_DMIRROR_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return FF_DMIRROR_NONE;

	byte = pfn & HMM_PFN_WRITE ? FF_DMIRROR_CAN_WRITE : FF_DMIRROR_CAN_READ;
	if (is_zero_pfn(pfn & ~HMM_PFN_FLAGS))
		byte |= FF_DMIRROR_ZERO;
	if (ff_region_has(mirror->region, pfn & ~HMM_PFN_FLAGS))
		byte |= FF_DMIRROR_PRIVATE;
	if (shift == PMD_SHIFT)
		byte |= FF_DMIRROR_PMD;
	if (shift == PUD_SHIFT)
		byte |= FF_DMIRROR_PUD;
	return byte;
}

/* FF_DMIRROR_SNAPSHOT */
static int ff_dmirror_snapshot(struct ff_dmirror *dmirror,
			       struct ff_dmirror_cmd *cmd)
{
	cmd->cpages = cmd->npages;
	return ff_snapshot_range(&dmirror->ctx->mirror, cmd->addr, cmd->npages,
				 u64_to_user_ptr(cmd->ptr), ff_dmirror_judge);
}

/* By number. A read asks userfaultfd handlers, and so is an unlocked one in any case. */
static int (* const ff_dmirror_commands[FF_DMIRROR_COMMANDS])
	(struct ff_dmirror *dmirror, struct ff_dmirror_cmd *cmd) = {
	[FF_DMIRROR_READ] = ff_dmirror_read,
	[FF_DMIRROR_WRITE] = ff_dmirror_write,
	[FF_DMIRROR_TO_DEVICE] = ff_dmirror_to_device,
	[FF_DMIRROR_TO_SYSTEM] = ff_dmirror_to_system,
	[FF_DMIRROR_SNAPSHOT] = ff_dmirror_snapshot,
	[FF_DMIRROR_EXCLUSIVE] = ff_dmirror_exclusive,
	[FF_DMIRROR_CHECK_EXCLUSIVE] = ff_dmirror_check_exclusive,
	[FF_DMIRROR_EVICT] = ff_dmirror_evict,
	[FF_DMIRROR_FLAGS] = ff_dmirror_flags,
	[FF_DMIRROR_READ_UNLOCKED] = ff_dmirror_read,
};

/* Whole pages, at least one, all in what can be a process's, where pages are meant. */
static int ff_dmirror_check(unsigned int nr, const struct ff_dmirror_cmd *cmd)
{
	u64 size, end;

	if (nr == FF_DMIRROR_EVICT || nr == FF_DMIRROR_FLAGS)
		return 0;
	if (!PAGE_ALIGNED(cmd->addr) || !cmd->npages ||
	    check_shl_overflow(cmd->npages, PAGE_SHIFT, &size) ||
	    check_add_overflow(cmd->addr, size, &end))
		return -EINVAL;
	return end <= TASK_SIZE_MAX ? 0 : -EFAULT;
}

static int ff_dmirror_call(struct ff_dmirror *dmirror, unsigned int nr,
			   struct ff_dmirror_cmd *cmd)
{
	struct ff_device *ff = dmirror->ctx->ff;
	int section, ret;

	ret = ff_ctx_bind(dmirror->ctx);
	if (ret)
		return ret;
	/*
	 * The bounce buffer goes with the device, so unbinding waits for the caller's
	 * pages here. That is for who loads the module with dmirror=1.
	 */
	if (!ff_device_enter(ff, &section))
		return -ENODEV;
	ret = ff_dmirror_commands[nr](dmirror, cmd);
	ff_device_exit(ff, section);
	return ret;
}

static long ff_dmirror_ioctl(struct file *file, unsigned int ioctl,
			     unsigned long user)
{
	struct ff_dmirror *dmirror = file->private_data;
	void __user *pointer = (void __user *)user;
	unsigned int nr = _IOC_NR(ioctl);
	struct ff_dmirror_cmd cmd;
	int ret;

	if (nr >= FF_DMIRROR_COMMANDS ||
	    ioctl != FF_DMIRROR_IOC(nr))
		return -ENOTTY;
	if (current->mm != dmirror->ctx->mirror.mm)
		return -EPERM;
	if (copy_from_user(&cmd, pointer, sizeof(cmd)))
		return -EFAULT;
	ret = ff_dmirror_check(nr, &cmd);
	if (ret)
		return ret;
	cmd.cpages = 0;
	cmd.faults = 0;
	ret = ff_dmirror_call(dmirror, nr, &cmd);
	if (!ret && copy_to_user(pointer, &cmd, sizeof(cmd)))
		return -EFAULT;
	return ret;
}

/*
 * Ordinary pages that belong to no file, put in one by one: a mapping such as
 * drivers make, for the tests to mirror.
 */
static int ff_dmirror_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long address;
	struct page *page;
	int ret;

	if (vma->vm_end - vma->vm_start > FF_DMIRROR_MMAP_SIZE)
		return -EINVAL;
	for (address = vma->vm_start; address < vma->vm_end;
	     address += PAGE_SIZE) {
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		ret = vm_insert_page(vma, address, page);
		/* The mapping has its own reference. */
		put_page(page);
		if (ret)
			return ret;
	}
	return 0;
}

static const struct file_operations ff_dmirror_fops = {
	.owner = THIS_MODULE,
	.open = ff_dmirror_open,
	.flush = ff_dmirror_flush,
	.release = ff_dmirror_release,
	.unlocked_ioctl = ff_dmirror_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = ff_dmirror_mmap,
};

static int ff_dmirror_register(struct ff_dmirror_node *node,
			       struct ff_device *ff, unsigned int number)
{
	node->ff = ff;
	node->region = ff->regions[number];
	snprintf(node->name, sizeof(node->name), "hmm_dmirror%u", number);
	node->misc.minor = MISC_DYNAMIC_MINOR;
	node->misc.name = node->name;
	node->misc.fops = &ff_dmirror_fops;
	node->misc.parent = ff->dev;
	return misc_register(&node->misc);
}

static int ff_dmirror_register_all(struct ff_device *ff)
{
	unsigned int i;
	int ret;

	if (!ff_resident_possible())
		return -EOPNOTSUPP;
	struct ff_dmirror_node *nodes __free(kfree) =
		kzalloc_objs(*nodes, FF_DMIRROR_NODES);
	if (!nodes)
		return -ENOMEM;
	for (i = 0; i < FF_DMIRROR_NODES; i++) {
		ret = ff_dmirror_register(&nodes[i], ff, i);
		if (ret) {
			while (i--)
				misc_deregister(&nodes[i].misc);
			return ret;
		}
	}
	ff->dmirror = no_free_ptr(nodes);
	return 0;
}

/* Whether a device is to have the nodes: the first one, if anybody wants them. */
bool ff_dmirror_is_wanted(const struct ff_device *ff)
{
	return ff_dmirror_wanted && !ff->instance;
}

/* It does its work without them as well. */
void ff_dmirror_add(struct ff_device *ff)
{
	int ret;

	if (!ff_dmirror_is_wanted(ff))
		return;
	ret = ff_dmirror_register_all(ff);
	if (ret)
		dev_err(ff->dev, "no /dev/hmm_dmirror0: error %d\n", ret);
}

void ff_dmirror_remove(struct ff_device *ff)
{
	unsigned int i;

	if (!ff->dmirror)
		return;
	for (i = 0; i < FF_DMIRROR_NODES; i++)
		misc_deregister(&ff->dmirror[i].misc);
	kfree(ff->dmirror);
	ff->dmirror = NULL;
}
