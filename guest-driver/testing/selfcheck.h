/* SPDX-License-Identifier: GPL-2.0-only */
/* Checks of what no program can reach. */
#ifndef FF_SELFCHECK_H
#define FF_SELFCHECK_H

struct ff_device;
struct seq_file;

void ff_selfcheck(struct seq_file *seq, struct ff_device *ff);

#endif /* FF_SELFCHECK_H */
