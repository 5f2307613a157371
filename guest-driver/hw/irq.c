// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts: one vector for the fault queue, one for the command queue, the
 * others for completions of user-mode queues. No handler reads a register.
 */
#include <linux/interrupt.h>
#include <linux/pci.h>

#include "base/upward.h"
#include "hw/device.h"
#include "hw/fault_ring.h"

static irqreturn_t ff_irq_fault(int irq, void *arg)
{
	struct ff_device *ff = arg;

	ff_count(&ff->counters, FF_COUNT_FAULT_IRQS, 1);
	return IRQ_WAKE_THREAD;
}

static irqreturn_t ff_irq_fault_thread(int irq, void *arg)
{
	if (!static_call(ff_up_skips)(arg, FF_STAGE_POSTED))
		ff_faults_drain(arg);
	return IRQ_HANDLED;
}

static irqreturn_t ff_irq_command(int irq, void *arg)
{
	struct ff_device *ff = arg;

	ff_count(&ff->counters, FF_COUNT_COMMAND_IRQS, 1);
	wake_up_all(&ff->commands.wait);
	return IRQ_HANDLED;
}

static irqreturn_t ff_irq_queue(int irq, void *arg)
{
	struct ff_vector *vector = arg;

	ff_count(&vector->ff->counters, FF_COUNT_QUEUE_IRQS, 1);
	wake_up_all(&vector->wait);
	return IRQ_HANDLED;
}

static void *ff_irq_arg(struct ff_device *ff, unsigned int vector)
{
	if (vector < FF_VECTOR_QUEUE)
		return ff;
	return &ff->completion[vector - FF_VECTOR_QUEUE];
}

static void ff_irqs_free(struct ff_device *ff, unsigned int nr)
{
	while (nr--)
		pci_free_irq(ff->pdev, nr, ff_irq_arg(ff, nr));
	pci_free_irq_vectors(ff->pdev);
}

static int ff_irq_request(struct ff_device *ff, unsigned int vector)
{
	struct pci_dev *pdev = ff->pdev;
	void *arg = ff_irq_arg(ff, vector);

	switch (vector) {
	case FF_VECTOR_FAULT:
		return pci_request_irq(pdev, vector, ff_irq_fault,
				       ff_irq_fault_thread, arg,
				       "%s-fault", ff->name);
	case FF_VECTOR_COMMAND:
		return pci_request_irq(pdev, vector, ff_irq_command, NULL, arg,
				       "%s-command", ff->name);
	default:
		return pci_request_irq(pdev, vector, ff_irq_queue, NULL, arg,
				       "%s-queue%u", ff->name,
				       vector - FF_VECTOR_QUEUE);
	}
}

/*
 * Gets the vectors and their handlers, when all that these use is there. Fewer vectors
 * for completions than there are do as well. An error has been told.
 */
int ff_irqs_init(struct ff_device *ff)
{
	unsigned int vector, i;
	int nr, ret;

	nr = pci_alloc_irq_vectors(ff->pdev, FF_VECTOR_QUEUE + 1, FF_VECTORS,
				   PCI_IRQ_MSIX);
	if (nr < 0)
		return dev_err_probe(ff->dev, nr, "no MSI-X vectors\n");

	ff->nr_completions = nr - FF_VECTOR_QUEUE;
	for (i = 0; i < ff->nr_completions; i++) {
		ff->completion[i].ff = ff;
		init_waitqueue_head(&ff->completion[i].wait);
	}

	for (vector = 0; vector < nr; vector++) {
		ret = ff_irq_request(ff, vector);
		if (ret) {
			ff_irqs_free(ff, vector);
			return dev_err_probe(ff->dev, ret,
					     "no interrupt for vector %u\n",
					     vector);
		}
	}
	return 0;
}

void ff_irqs_stop_faults(struct ff_device *ff)
{
	disable_irq(pci_irq_vector(ff->pdev, FF_VECTOR_FAULT));
}

/* Gives the vectors back; no handler runs afterwards. */
void ff_irqs_fini(struct ff_device *ff)
{
	ff_irqs_free(ff, FF_VECTOR_QUEUE + ff->nr_completions);
}
