/* SPDX-License-Identifier: GPL-2.0-only */
/* Ways for the driver to go wrong, so that tests can be seen to notice. */
#ifndef FF_BREAK_H
#define FF_BREAK_H

#include <linux/types.h>

struct mmu_notifier_range;

extern bool ff_break_dirty;
extern bool ff_break_flush;

bool ff_break_keeps(const struct mmu_notifier_range *range);
void ff_break_init(void);

#endif /* FF_BREAK_H */
