// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI driver: from probe to remove.
 */
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/idr.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "base/upward.h"
#include "file/ctx.h"
#include "hw/device.h"
#include "memory/move.h"
#include "service/service.h"
#include "testing/testing.h"

/* A device that does not follow CTRL within this time is broken. */
#define FF_CTRL_TIMEOUT_US	(1 * USEC_PER_SEC)

/* More would be a broken device: the driver keeps a group in each queue. */
#define FF_MAX_LOOKAHEAD		65536

static DEFINE_IDA(ff_instances);
static struct dentry *ff_debugfs_root;

static struct ff_device *ff_device_alloc(struct pci_dev *pdev)
{
	struct ff_device *ff;
	int ret;

	ff = kzalloc_obj(*ff);
	if (!ff)
		return ERR_PTR(-ENOMEM);
	ret = init_srcu_struct(&ff->unplug);
	if (ret)
		goto free;
	ret = ida_alloc(&ff_instances, GFP_KERNEL);
	if (ret < 0)
		goto cleanup;

	kref_init(&ff->ref);
	ff->instance = ret;
	ff->pdev = pdev;
	ff->dev = &pdev->dev;
	snprintf(ff->name, sizeof(ff->name), "farfault%d", ff->instance);
	spin_lock_init(&ff->queue_lock);
	xa_init_flags(&ff->contexts, XA_FLAGS_ALLOC);
	return ff;

cleanup:
	cleanup_srcu_struct(&ff->unplug);
free:
	kfree(ff);
	return ERR_PTR(ret);
}

/* Sets CTRL and waits until the device has followed; -ENODEV if none is there. */
static int ff_control(struct ff_device *ff, u32 ctrl)
{
	u32 want = ctrl & FF_CTRL_ENABLE ? FF_STATUS_READY : 0;
	u32 status;
	int ret;

	writel(ctrl, ff->regs + FF_REG_CTRL);
	ret = readl_poll_timeout(ff->regs + FF_REG_STATUS, status,
				 PCI_POSSIBLE_ERROR(status) ||
				 (status & FF_STATUS_READY) == want, 10,
				 FF_CTRL_TIMEOUT_US);
	return PCI_POSSIBLE_ERROR(status) ? -ENODEV : ret;
}

/* Once the device reaches no memory, nobody need wait for it. */
static void ff_stop(struct ff_device *ff)
{
	ff_control(ff, 0);
	pci_clear_master(ff->pdev);
	ff_commands_gone(ff);
}

static int ff_map_bars(struct ff_device *ff)
{
	struct pci_dev *pdev = ff->pdev;
	resource_size_t command;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	if (pci_resource_len(pdev, FF_BAR_REGISTERS) < FF_BAR_REGISTERS_SIZE ||
	    pci_resource_len(pdev, FF_BAR_DOORBELLS) < FF_BAR_DOORBELLS_SIZE)
		return -ENODEV;
	ff->regs = pcim_iomap_region(pdev, FF_BAR_REGISTERS, ff->name);
	if (IS_ERR(ff->regs))
		return PTR_ERR(ff->regs);
	ret = pcim_request_region(pdev, FF_BAR_DOORBELLS, ff->name);
	if (ret)
		return ret;

	/* The pages of the user-mode queues are for processes to map. */
	ff->doorbells = pci_resource_start(pdev, FF_BAR_DOORBELLS);
	command = ff->doorbells + FF_DOORBELL_COMMAND * FF_DOORBELL_STRIDE;
	ff->commands.doorbell = devm_ioremap(ff->dev, command,
					     FF_DOORBELL_STRIDE);
	return ff->commands.doorbell ? 0 : -ENOMEM;
}

static int ff_identify(struct ff_device *ff)
{
	u32 id = readl(ff->regs + FF_REG_ID);
	u32 version = readl(ff->regs + FF_REG_VERSION);

	if (id != FF_ID_MAGIC || version >> 16 != FF_VERSION >> 16)
		return dev_err_probe(ff->dev, -ENODEV,
				     "ID %#x version %#x, need %#x and %#x\n",
				     id, version, FF_ID_MAGIC, FF_VERSION);

	ff->features = readq(ff->regs + FF_REG_FEATURES);
	ff->nr_queues = readl(ff->regs + FF_REG_QUEUES);
	ff->nr_engines = readl(ff->regs + FF_REG_ENGINES);
	ff->lookahead = readl(ff->regs + FF_REG_LOOKAHEAD);
	if (!ff->nr_queues || ff->nr_queues > FF_QUEUES ||
	    !ff->lookahead || ff->lookahead > FF_MAX_LOOKAHEAD)
		return dev_err_probe(ff->dev, -ENODEV,
				     "%u queues, groups of %u: out of range\n",
				     ff->nr_queues, ff->lookahead);

	if ((version & 0xffff) >= 1)
		ff->vram = readq(ff->regs + FF_REG_VRAM);

	/* Leaves of 1 GiB are of use only along with those of 2 MiB. */
	if (ff->features & FF_FEATURE_LEAF_2M)
		ff->leaf_level = ff->features & FF_FEATURE_LEAF_1G ? 2 : 1;
	return 0;
}

/* Puts the device into a known state and gives it its tables and rings. */
static int ff_hardware_init(struct ff_device *ff)
{
	unsigned int bits;
	int ret;

	ret = ff_map_bars(ff);
	if (ret)
		return dev_err_probe(ff->dev, ret, "no usable BARs\n");
	ret = ff_identify(ff);
	if (ret)
		return ret;
	bits = ff->vram ? FF_COPY_DMA_BITS : 52;
	ret = dma_set_mask_and_coherent(ff->dev, DMA_BIT_MASK(bits));
	if (ret)
		return dev_err_probe(ff->dev, ret, "no %u-bit DMA\n", bits);
	/* The device goes by pages; a segment of a pinned buffer has any length. */
	dma_set_max_seg_size(ff->dev, UINT_MAX);

	ff->context_table =
		dmam_alloc_coherent(ff->dev,
				    FF_CONTEXTS * sizeof(struct ff_context),
				    &ff->context_dma, GFP_KERNEL);
	if (!ff->context_table)
		return -ENOMEM;
	ret = ff_commands_init(ff);
	if (!ret && ff->vram)
		ret = ff_copies_init(ff);
	return ret ?: ff_faults_init(ff);
}

/*
 * Starts the device, which knows nothing: after a reset, or for the first time.
 * Contexts, their page tables and what is pinned are in memory, and so are there
 * again; the queues are not.
 */
static int ff_start(struct ff_device *ff)
{
	int ret;

	ret = ff_control(ff, 0);
	if (ret)
		return dev_err_probe(ff->dev, ret, "does not stop\n");
	if (ff->vram)
		ff_copies_restart(ff);
	writeq(ff->context_dma, ff->regs + FF_REG_CONTEXT_BASE);
	writel(FF_CONTEXTS, ff->regs + FF_REG_CONTEXT_ENTRIES);
	ff_commands_restart(ff);
	ff_faults_restart(ff);
	pci_set_master(ff->pdev);
	ret = ff_control(ff, FF_CTRL_ENABLE);
	if (ret) {
		dev_err_probe(ff->dev, ret, "does not start, errors %#x\n",
			      readl(ff->regs + FF_REG_ERRORS));
		ff_stop(ff);
		return ret;
	}
	WRITE_ONCE(ff->lost, false);
	ff_regions_close(ff, false);
	/* What was posted meanwhile was rung for when the device did not look. */
	ff_command_ring(ff);
	return 0;
}

/* Has the device give back what is in its memory, of which it is about to lose the rest. */
static void ff_regions_clear(struct ff_device *ff)
{
	unsigned int i;

	ff_regions_close(ff, true);
	for (i = 0; i < ff->nr_regions; i++)
		ff_evict_all(ff->regions[i]);
}

/* Stops it for a while: who waits for a queue, or makes one, is told that it is lost. */
static void ff_pause(struct ff_device *ff)
{
	ff_stop(ff);
	ff_lost(ff);
	ff_regions_lose(ff);
	/* Who has not seen that has given its queue a number. */
	synchronize_srcu(&ff->unplug);
	ff_queues_lose(ff);
	if (ff->vram)
		ff_ctx_drop_all(ff);
}

static void ff_debugfs_add(struct ff_device *ff)
{
	ff->debugfs = debugfs_create_dir(pci_name(ff->pdev), ff_debugfs_root);
	ff_counters_add(&ff->counters, ff->debugfs);
	ff_device_counters_add(ff);
	ff_selfcheck_add(ff);
	ff_stall_add(ff);
}

static int ff_misc_register(struct ff_device *ff)
{
	ff->misc.minor = MISC_DYNAMIC_MINOR;
	ff->misc.name = ff->name;
	ff->misc.fops = &ff_fops;
	ff->misc.parent = ff->dev;
	return misc_register(&ff->misc);
}

static int ff_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ff_device *ff;
	int ret;

	ff = ff_device_alloc(pdev);
	if (IS_ERR(ff))
		return PTR_ERR(ff);
	pci_set_drvdata(pdev, ff);
	ret = ff_hardware_init(ff);
	if (ret)
		goto put;
	ret = ff_irqs_init(ff);
	if (ret)
		goto put;
	ret = ff_start(ff);
	if (ret)
		goto free_irqs;
	ret = ff_regions_add(ff, ff_dmirror_is_wanted(ff) ? FF_REGIONS : 1,
			     &ff_region_ops);
	if (ret)
		goto stop;
	ff_debugfs_add(ff);
	ret = ff_misc_register(ff);
	if (ret)
		goto remove_debugfs;
	ff_dmirror_add(ff);

	dev_info(ff->dev, "%s: %u queues, %u engines, fault groups of %u pages\n",
		 ff->name, ff->nr_queues, ff->nr_engines, ff->lookahead);
	return 0;

remove_debugfs:
	debugfs_remove(ff->debugfs);
	ff_regions_remove(ff);
stop:
	ff_stop(ff);
free_irqs:
	ff_irqs_fini(ff);
put:
	ida_free(&ff_instances, ff->instance);
	ff_device_put(ff);
	return ret;
}

/*
 * Makes whoever is at work for a process give up. The device has stopped by then,
 * so nobody waits for it, and who hears that it is gone may reuse the memory that
 * it worked on.
 */
static void ff_unplug(struct ff_device *ff)
{
	struct ff_ctx *ctx;
	unsigned long pasid;

	WRITE_ONCE(ff->unplugged, true);
	xa_lock(&ff->contexts);
	xa_for_each(&ff->contexts, pasid, ctx)
		WRITE_ONCE(ctx->mirror.closing, true);
	xa_unlock(&ff->contexts);
	ff_wake_all(ff);
	synchronize_srcu(&ff->unplug);
}

/*
 * Files may still be open if the driver is unbound by hand; the module stays
 * as long as they are. From the outside in: no new files, no memory access, nobody
 * who uses the device; then the contexts are taken down, which needs no device any
 * more and waits for no process.
 */
static void ff_remove(struct pci_dev *pdev)
{
	struct ff_device *ff = pci_get_drvdata(pdev);

	ff_dmirror_remove(ff);
	misc_deregister(&ff->misc);
	debugfs_remove(ff->debugfs);
	ff_regions_clear(ff);
	ff_stop(ff);
	ff_unplug(ff);
	ff_irqs_stop_faults(ff);
	ff_ctx_detach_all(ff);
	/* Invalidations that had taken something out before. */
	synchronize_srcu(&ff->unplug);
	ff_regions_remove(ff);
	ff_irqs_fini(ff);
	/* From here on the name can be used again, whatever is still open. */
	ida_free(&ff_instances, ff->instance);
	ff_device_put(ff);
}

static void ff_shutdown(struct pci_dev *pdev)
{
	ff_stop(pci_get_drvdata(pdev));
}

/*
 * Suspend and reset take from the device all that it knows, and programs may be at
 * work. Their queues are lost, which they are told; all else is in memory.
 */
static void ff_reset_prepare(struct pci_dev *pdev)
{
	struct ff_device *ff = pci_get_drvdata(pdev);

	ff_regions_clear(ff);
	ff_pause(ff);
}

static void ff_reset_done(struct pci_dev *pdev)
{
	ff_start(pci_get_drvdata(pdev));
}

static const struct pci_error_handlers ff_error_handlers = {
	.reset_prepare = ff_reset_prepare,
	.reset_done = ff_reset_done,
};

static int ff_suspend(struct device *dev)
{
	struct ff_device *ff = dev_get_drvdata(dev);

	ff_regions_clear(ff);
	if (ff_regions_in_use(ff) && !READ_ONCE(ff->lost)) {
		ff_regions_close(ff, false);
		dev_err(dev, "no room in the system for what is in device memory\n");
		return -EBUSY;
	}
	ff_pause(ff);
	return 0;
}

static int ff_resume(struct device *dev)
{
	return ff_start(dev_get_drvdata(dev));
}

static DEFINE_SIMPLE_DEV_PM_OPS(ff_pm_ops, ff_suspend, ff_resume);

static const struct pci_device_id ff_ids[] = {
	{ PCI_DEVICE(FF_PCI_VENDOR, FF_PCI_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, ff_ids);

static struct pci_driver ff_driver = {
	.name = "farfault",
	.id_table = ff_ids,
	.probe = ff_probe,
	.remove = ff_remove,
	.shutdown = ff_shutdown,
	.err_handler = &ff_error_handlers,
	.driver.pm = pm_sleep_ptr(&ff_pm_ops),
};

/* Who answers the calls of base/upward.h. */
static void __init ff_register_upward(void)
{
	static_call_update(ff_up_fault, ff_collect);
	static_call_update(ff_up_taken, ff_announce_serve);
	ff_stall_init();
	ff_break_init();
}

static int __init ff_init(void)
{
	int ret = ff_ctx_init();

	if (ret)
		return ret;
	ret = ff_regions_init();
	if (ret) {
		ff_ctx_exit();
		return ret;
	}
	ff_register_upward();
	ff_debugfs_root = debugfs_create_dir("farfault", NULL);
	ret = pci_register_driver(&ff_driver);
	if (ret) {
		debugfs_remove(ff_debugfs_root);
		ff_regions_exit();
		ff_ctx_exit();
	}
	return ret;
}
module_init(ff_init);

static void __exit ff_exit(void)
{
	pci_unregister_driver(&ff_driver);
	ff_ctx_exit();
	ff_regions_exit();
	debugfs_remove(ff_debugfs_root);
	ida_destroy(&ff_instances);
}
module_exit(ff_exit);

MODULE_DESCRIPTION("Farfault: shared virtual memory with a synthetic accelerator");
MODULE_LICENSE("GPL");
