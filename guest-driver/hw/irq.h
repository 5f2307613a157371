/* SPDX-License-Identifier: GPL-2.0-only */
/* Interrupts. */
#ifndef FF_IRQ_H
#define FF_IRQ_H

struct ff_device;

int ff_irqs_init(struct ff_device *ff);
void ff_irqs_stop_faults(struct ff_device *ff);
void ff_irqs_fini(struct ff_device *ff);

#endif /* FF_IRQ_H */
