/* SPDX-License-Identifier: GPL-2.0-only */
/* What a program can do with /dev/farfaultN. */
#ifndef FF_FOPS_H
#define FF_FOPS_H

#include <linux/fs.h>

extern const struct file_operations ff_fops;

#endif /* FF_FOPS_H */
