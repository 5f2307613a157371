/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters in debugfs. */
#ifndef FF_DEBUGFS_H
#define FF_DEBUGFS_H

struct ff_device;

void ff_debugfs_init(void);
void ff_debugfs_exit(void);
void ff_debugfs_add(struct ff_device *ff);
void ff_debugfs_remove(struct ff_device *ff);

#endif /* FF_DEBUGFS_H */
