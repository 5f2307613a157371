// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a PCI function to a device that works, and back.
 */
#include <linux/dma-mapping.h>
#include <linux/iopoll.h>
#include <linux/pci.h>

#include "hw/device.h"

/* A device that does not follow CTRL within this time is broken. */
#define FF_CTRL_TIMEOUT_US	(1 * USEC_PER_SEC)

/* More would be a broken device: the driver keeps a group in each queue. */
#define FF_MAX_LOOKAHEAD		65536

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
void ff_stop(struct ff_device *ff)
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
int ff_hardware_init(struct ff_device *ff)
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
int ff_start(struct ff_device *ff)
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
	/* What was posted meanwhile was rung for when the device did not look. */
	ff_command_ring(ff);
	return 0;
}
