// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI driver: from probe to remove.
 */
#include <linux/debugfs.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "base/upward.h"
#include "file/ctx.h"
#include "hw/device.h"
#include "memory/move.h"
#include "service/service.h"
#include "testing/testing.h"

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

static int ff_go_on(struct ff_device *ff)
{
	int ret = ff_start(ff);

	if (!ret)
		ff_regions_close(ff, false);
	return ret;
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
	ff_go_on(pci_get_drvdata(pdev));
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
	return ff_go_on(dev_get_drvdata(dev));
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
