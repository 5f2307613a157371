/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints of the fault path and of invalidation. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM farfault

#if !defined(FF_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FF_TRACE_H

#include <linux/hmm.h>
#include <linux/mmu_notifier.h>
#include <linux/tracepoint.h>

#include "base/abi.h"
#include "base/span.h"

TRACE_EVENT(ff_fault,
	TP_PROTO(const struct ff_fault *fault),
	TP_ARGS(fault),
	TP_STRUCT__entry(
		__field(u64, address)
		__field(u32, pasid)
		__field(u32, group)
		__field(u16, queue)
		__field(u8, kind)
		__field(u8, access)
		__field(u8, flags)
		__field(u8, reason)
	),
	TP_fast_assign(
		__entry->address = le64_to_cpu(fault->address);
		__entry->pasid = le32_to_cpu(fault->pasid);
		__entry->group = le32_to_cpu(fault->group);
		__entry->queue = le16_to_cpu(fault->queue);
		__entry->kind = fault->kind;
		__entry->access = fault->access;
		__entry->flags = fault->flags;
		__entry->reason = fault->reason;
	),
	TP_printk("pasid=%u queue=%u group=%u address=0x%llx %s%s%s%s%s reason=%u",
		  __entry->pasid, __entry->queue, __entry->group,
		  __entry->address,
		  __entry->access & FF_ACCESS_READ ? "r" : "",
		  __entry->access & FF_ACCESS_WRITE ? "w" : "",
		  __entry->flags & FF_FAULT_LOOKAHEAD ? " ahead" : "",
		  __entry->flags & FF_FAULT_LAST ? " last" : "",
		  __entry->kind == FF_FAULT_QUEUE_HALTED ? " halted" : "",
		  __entry->reason)
);

TRACE_EVENT(ff_batch,
	TP_PROTO(u32 pasid, unsigned int groups, unsigned int requests,
		 unsigned int pages),
	TP_ARGS(pasid, groups, requests, pages),
	TP_STRUCT__entry(
		__field(u32, pasid)
		__field(unsigned int, groups)
		__field(unsigned int, requests)
		__field(unsigned int, pages)
	),
	TP_fast_assign(
		__entry->pasid = pasid;
		__entry->groups = groups;
		__entry->requests = requests;
		__entry->pages = pages;
	),
	TP_printk("pasid=%u groups=%u requests=%u pages=%u", __entry->pasid,
		  __entry->groups, __entry->requests, __entry->pages)
);

TRACE_EVENT(ff_range_fault,
	TP_PROTO(u32 pasid, const struct ff_span *span, int ret),
	TP_ARGS(pasid, span, ret),
	TP_STRUCT__entry(
		__field(u32, pasid)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(bool, write)
		__field(bool, prefetch)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->pasid = pasid;
		__entry->start = span->start;
		__entry->end = span->end;
		__entry->write = span->request & HMM_PFN_REQ_WRITE;
		__entry->prefetch = span->prefetch;
		__entry->ret = ret;
	),
	TP_printk("pasid=%u range=0x%lx-0x%lx %s%s ret=%d", __entry->pasid,
		  __entry->start, __entry->end, __entry->write ? "w" : "r",
		  __entry->prefetch ? " prefetch" : "", __entry->ret)
);

TRACE_EVENT(ff_retry,
	TP_PROTO(u32 pasid, const struct ff_span *span, unsigned int tries),
	TP_ARGS(pasid, span, tries),
	TP_STRUCT__entry(
		__field(u32, pasid)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned int, tries)
	),
	TP_fast_assign(
		__entry->pasid = pasid;
		__entry->start = span->start;
		__entry->end = span->end;
		__entry->tries = tries;
	),
	TP_printk("pasid=%u range=0x%lx-0x%lx tries=%u", __entry->pasid,
		  __entry->start, __entry->end, __entry->tries)
);

TRACE_EVENT(ff_invalidate,
	TP_PROTO(u32 pasid, const struct mmu_notifier_range *range,
		 unsigned long pages, u64 fence),
	TP_ARGS(pasid, range, pages, fence),
	TP_STRUCT__entry(
		__field(u32, pasid)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, event)
		__field(unsigned long, pages)
		__field(u64, fence)
	),
	TP_fast_assign(
		__entry->pasid = pasid;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->event = range->event;
		__entry->pages = pages;
		__entry->fence = fence;
	),
	TP_printk("pasid=%u range=0x%lx-0x%lx event=%s pages=%lu fence=%llu",
		  __entry->pasid, __entry->start, __entry->end,
		  __print_symbolic(__entry->event,
				   { MMU_NOTIFY_UNMAP, "unmap" },
				   { MMU_NOTIFY_CLEAR, "clear" },
				   { MMU_NOTIFY_PROTECTION_VMA, "protect vma" },
				   { MMU_NOTIFY_PROTECTION_PAGE, "protect page" },
				   { MMU_NOTIFY_SOFT_DIRTY, "soft dirty" },
				   { MMU_NOTIFY_RELEASE, "release" },
				   { MMU_NOTIFY_MIGRATE, "migrate" },
				   { MMU_NOTIFY_EXCLUSIVE, "exclusive" }),
		  __entry->pages, __entry->fence)
);

TRACE_EVENT(ff_response,
	TP_PROTO(u32 pasid, unsigned int queue, u32 group,
		 enum ff_cause cause, u64 address),
	TP_ARGS(pasid, queue, group, cause, address),
	TP_STRUCT__entry(
		__field(u32, pasid)
		__field(unsigned int, queue)
		__field(u32, group)
		__field(int, cause)
		__field(u64, address)
	),
	TP_fast_assign(
		__entry->pasid = pasid;
		__entry->queue = queue;
		__entry->group = group;
		__entry->cause = cause;
		__entry->address = address;
	),
	TP_printk("pasid=%u queue=%u group=%u %s address=0x%llx",
		  __entry->pasid, __entry->queue, __entry->group,
		  __print_symbolic(__entry->cause,
				   { FF_CAUSE_NONE, "resume" },
				   { FF_CAUSE_ADDRESS, "fail" },
				   { FF_CAUSE_MEMORY, "fail for memory" },
				   { FF_CAUSE_ATOMIC, "fail to be atomic" },
				   { FF_CAUSE_ENDED, "fail at the end" }),
		  __entry->address)
);

#endif /* FF_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
