/* SPDX-License-Identifier: GPL-2.0-only */
/* The device as the driver knows it. */
#ifndef FF_DEVICE_H
#define FF_DEVICE_H

#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "base/abi.h"
#include "base/counters.h"
#include "hw/command.h"
#include "hw/copy.h"
#include "hw/fault_ring.h"

struct ff_dmirror_node;
struct ff_queue;
struct ff_region;

/* Entries of the context table, and so one more than contexts there can be. */
#define FF_CONTEXTS	4096

/* Regions of device memory: more than one only for the kernel's selftest. */
#define FF_REGIONS	2

/* The address space of the copy queue, the last that there is. */
#define FF_COPY_PASID	(FF_CONTEXTS - 1)

/**
 * struct ff_vector - A vector for completions of user-mode queues
 * @ff: device
 * @wait: woken by its interrupt
 */
struct ff_vector {
	struct ff_device *ff;
	wait_queue_head_t wait;
};

/**
 * struct ff_device - A device
 * @ref: one for the bound driver, one for each context
 * @pdev: PCI function
 * @dev: the same, for DMA and messages
 * @misc: /dev/farfaultN
 * @name: its name
 * @instance: its N
 * @regs: BAR 0
 * @doorbells: physical address of BAR 4
 * @features: FF_FEATURE bits
 * @leaf_level: level of the largest leaf
 * @nr_queues: user-mode queues
 * @nr_engines: engines
 * @lookahead: most records of a fault group
 * @vram: bytes of device memory, or 0
 * @regions: that memory as mm knows it, each an equal part of it; freed with the device
 * @nr_regions: their number
 * @nr_completions: vectors for completions
 * @completion: those vectors; queue q uses number q modulo @nr_completions
 * @dmirror: nodes for the kernel's HMM selftest, or NULL
 * @unplug: read side is held by all that uses the hardware, but for the end of a
 *	context, for which unbinding waits; see ff_device_enter()
 * @unplugged: the driver is being unbound, and the device has stopped
 * @lost: the device has lost its state or does not answer, and was not started anew
 * @context_table: where the device finds page tables
 * @context_dma: its DMA address
 * @contexts: &struct ff_ctx by PASID
 * @commands: command queue
 * @copies: copy queue, if there is device memory
 * @faults: fault queue
 * @queue_lock: protects @queues, and of each queue the group it collects
 * @queues: user-mode queues by number
 * @stall: &enum ff_stage at which faults are held up
 * @counters: what is counted
 * @debugfs: directory
 */
struct ff_device {
	struct kref ref;
	struct pci_dev *pdev;
	struct device *dev;
	struct miscdevice misc;
	char name[24];
	int instance;

	void __iomem *regs;
	phys_addr_t doorbells;
	u64 features;
	unsigned int leaf_level;
	unsigned int nr_queues;
	unsigned int nr_engines;
	unsigned int lookahead;
	u64 vram;
	struct ff_region *regions[FF_REGIONS];
	unsigned int nr_regions;

	unsigned int nr_completions;
	struct ff_vector completion[FF_VECTORS - FF_VECTOR_QUEUE];

	struct ff_dmirror_node *dmirror;

	struct srcu_struct unplug;
	bool unplugged;
	bool lost;

	struct ff_context *context_table;
	dma_addr_t context_dma;
	struct xarray contexts;

	struct ff_commands commands;
	struct ff_copies copies;
	struct ff_fault_ring faults;
	spinlock_t queue_lock; /* queues, and the groups they collect */
	struct ff_queue *queues[FF_QUEUES];

	unsigned int stall;
	struct ff_counters counters;
	struct dentry *debugfs;
};

/**
 * ff_device_enter() - Begin to use the device, or memory that is mapped for it
 * @ff: device
 * @section: for ff_device_exit()
 *
 * Unbinding stops the device, so that nobody waits for it any more, and then waits
 * until all have left. So nobody waits in between for what a process or a file
 * system does: no page of a process is touched, and none faulted in.
 *
 * Return: false if the driver is being unbound, and the device has stopped.
 */
static inline bool ff_device_enter(struct ff_device *ff, int *section)
{
	*section = srcu_read_lock(&ff->unplug);
	if (!READ_ONCE(ff->unplugged))
		return true;
	srcu_read_unlock(&ff->unplug, *section);
	return false;
}

static inline void ff_device_exit(struct ff_device *ff, int section)
{
	srcu_read_unlock(&ff->unplug, section);
}

static inline wait_queue_head_t *ff_completion(struct ff_device *ff,
					       unsigned int queue)
{
	return &ff->completion[queue % ff->nr_completions].wait;
}

/* Wakes all who wait for completions, to look at the state of the device. */
static inline void ff_wake_all(struct ff_device *ff)
{
	unsigned int i;

	for (i = 0; i < ff->nr_completions; i++)
		wake_up_all(&ff->completion[i].wait);
}

int ff_hardware_init(struct ff_device *ff);
int ff_start(struct ff_device *ff);
void ff_stop(struct ff_device *ff);

bool ff_device_present(struct ff_device *ff);
void ff_lost(struct ff_device *ff);
void ff_device_put(struct ff_device *ff);
void ff_device_counters_add(struct ff_device *ff);

int ff_irqs_init(struct ff_device *ff);
void ff_irqs_stop_faults(struct ff_device *ff);
void ff_irqs_fini(struct ff_device *ff);

#endif /* FF_DEVICE_H */
