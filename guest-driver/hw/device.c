// SPDX-License-Identifier: GPL-2.0-only
/* How long the device lives, and the end of its life. */
#include <linux/pci.h>
#include <linux/slab.h>

#include "hw/device.h"

static void ff_device_free(struct kref *ref)
{
	struct ff_device *ff = container_of(ref, struct ff_device, ref);
	unsigned int i;

	cleanup_srcu_struct(&ff->unplug);
	for (i = 0; i < FF_REGIONS; i++)
		kvfree(ff->regions[i]);
	kfree(ff);
}

void ff_device_put(struct ff_device *ff)
{
	kref_put(&ff->ref, ff_device_free);
}

/* Whether there is a device that answers: what is not there reads as all ones. */
bool ff_device_present(struct ff_device *ff)
{
	return !PCI_POSSIBLE_ERROR(readl(ff->regs + FF_REG_ID));
}

/* The device has lost its state: tells those who wait for it. */
void ff_lost(struct ff_device *ff)
{
	WRITE_ONCE(ff->lost, true);
	ff_wake_all(ff);
}
