// SPDX-License-Identifier: GPL-2.0-only
/* Upward calls, with nobody registered. */
#include "base/upward.h"

DEFINE_STATIC_CALL_NULL(ff_up_fault, ff_up_fault_t);
DEFINE_STATIC_CALL_NULL(ff_up_taken, ff_up_taken_t);
DEFINE_STATIC_CALL_NULL(ff_up_reached, ff_up_reached_t);
DEFINE_STATIC_CALL_RET0(ff_up_skips, ff_up_skips_t);
