/* SPDX-License-Identifier: GPL-2.0-only */
/* Ways for the driver to go wrong, so that tests can be seen to notice. */
#ifndef FF_BREAK_H
#define FF_BREAK_H

void ff_break_init(void);

#endif /* FF_BREAK_H */
