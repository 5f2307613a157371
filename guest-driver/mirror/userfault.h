/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages that a userfaultfd handler has to bring. */
#ifndef FF_USERFAULT_H
#define FF_USERFAULT_H

struct ff_mirror;
struct ff_span;

int ff_userfault(struct ff_mirror *mirror, const struct ff_span *span);

#endif /* FF_USERFAULT_H */
