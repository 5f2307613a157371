/* SPDX-License-Identifier: GPL-2.0-only */
/* Registered buffers: pinned pages at device addresses of their own. */
#ifndef FF_PIN_H
#define FF_PIN_H

#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/sizes.h>

#include "file/resident.h"

struct ff_ctx;

/* Where registered buffers are for the device. */
#define FF_PIN_START	(FF_RESIDENT_START + SZ_1G)

/**
 * struct ff_pins - The registered buffers of a context
 * @lock: held while one is entered in the device's page table, or taken out
 * @tree: &struct ff_pin by slots of 2 MiB of device addresses
 */
struct ff_pins {
	struct mutex lock; /* tree, and what it says of the page table */
	struct maple_tree tree;
};

void ff_pins_init(struct ff_pins *pins);
void ff_pins_release(struct ff_ctx *ctx);

int ff_ioctl_register(struct ff_ctx *ctx, void *arg);
int ff_ioctl_unregister(struct ff_ctx *ctx, void *arg);

#endif /* FF_PIN_H */
