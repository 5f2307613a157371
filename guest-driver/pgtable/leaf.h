/* SPDX-License-Identifier: GPL-2.0-only */
/* 2 MiB leaves: made of small ones, and taken apart. */
#ifndef FF_LEAF_H
#define FF_LEAF_H

#include "pgtable/table.h"

void ff_leaf_split(struct ff_pgtable *pgt, struct ff_table *table,
		   unsigned int index, struct ff_table *small);
bool ff_leaf_join(struct ff_pgtable *pgt, unsigned long address,
		  struct list_head *tables);

#endif /* FF_LEAF_H */
