// SPDX-License-Identifier: GPL-2.0-only
/*
 * The far-fault service.
 *
 * All groups that wait in a context are taken as one batch, the mirror makes
 * their pages present with as few calls as may be, and every group is answered,
 * whatever happened. Who does that is said in ff_service.c.
 */
#include <linux/bsearch.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "ff_ahead.h"
#include "ff_batch.h"
#include "ff_ctx.h"
#include "ff_drv.h"
#include "ff_queue.h"
#include "ff_trace.h"

/* Requests of one batch; more would make the first queue wait for the last. */
#define FF_BATCH	1024U

static unsigned int ff_batch_size(struct ff_device *ff)
{
	return max(FF_BATCH, ff->window);
}

u64 *ff_batch_alloc(struct ff_device *ff)
{
	return kvmalloc_objs(u64, ff_batch_size(ff));
}

/* Takes the groups that wait, as many as there is room for. */
static unsigned int ff_batch_take(struct ff_ctx *ctx)
{
	struct ff_device *ff = ctx->ff;
	struct ff_queue *queue, *next;
	unsigned int nr = 0;

	ctx->nr_groups = 0;
	spin_lock(&ff->queue_lock);
	list_for_each_entry_safe(queue, next, &ctx->ready, link) {
		if (nr + queue->nr > ff_batch_size(ff))
			break;
		list_del_init(&queue->link);
		kref_get(&queue->ref);
		ctx->groups[ctx->nr_groups++] = queue;
		memcpy(ctx->requests + nr, queue->requests,
		       array_size(queue->nr, sizeof(u64)));
		nr += queue->nr;
	}
	spin_unlock(&ff->queue_lock);
	return nr;
}

static int ff_request_compare(const void *a, const void *b)
{
	return cmp_int(*(const u64 *)a & PAGE_MASK, *(const u64 *)b & PAGE_MASK);
}

/* Sorts by address and merges requests for the same page. */
static unsigned int ff_batch_merge(struct ff_ctx *ctx, unsigned int nr)
{
	u64 *requests = ctx->requests;
	unsigned int i, merged = 0;

	if (!nr)
		return 0;
	sort(requests, nr, sizeof(*requests), ff_request_compare, NULL);
	for (i = 1; i < nr; i++) {
		if ((requests[i] & PAGE_MASK) == (requests[merged] & PAGE_MASK))
			requests[merged] |= requests[i];
		else
			requests[++merged] = requests[i];
	}
	merged++;
	ff_count(&ctx->ff->counters, FF_COUNT_COALESCED, nr - merged);
	return merged;
}

/* Whoever asked for the same in the meantime has had it mapped. */
static void ff_batch_drop_mapped(struct ff_ctx *ctx, unsigned int nr)
{
	struct ff_mirror *mirror = &ctx->mirror;
	unsigned int i, stale = 0;
	u64 *request, need;

	mutex_lock(&mirror->lock);
	for (i = 0; i < nr; i++) {
		request = &ctx->requests[i];
		need = *request & FF_WANT_WRITE ? FF_PTE_WRITE : FF_PTE_READ;
		if (ff_pgtable_lookup(&mirror->pgt, *request & PAGE_MASK) & need) {
			*request &= ~FF_WANT;
			stale++;
		}
	}
	mutex_unlock(&mirror->lock);
	ff_count(&ctx->ff->counters, FF_COUNT_STALE_FAULTS, stale);
}

/* Some wants of a request cannot be had: if demanded they have failed. */
static void ff_request_fail(struct ff_ctx *ctx, u64 *request, u64 wants)
{
	u64 demanded = wants & (*request & FF_DEMAND) >> FF_DEMAND_SHIFT;

	if (*request & wants && !demanded)
		ff_count(&ctx->ff->counters, FF_COUNT_LOOKAHEADS_DROPPED, 1);
	*request |= demanded << FF_FAILED_SHIFT;
	*request &= ~wants;
}

/* What the mapping says an access may do, as wants. */
static u64 ff_vma_allows(const struct vm_area_struct *vma)
{
	if (!vma || vma->vm_flags & (VM_IO | VM_PFNMAP) ||
	    !(vma->vm_flags & VM_READ))
		return 0;
	return vma->vm_flags & VM_WRITE ? FF_WANT : FF_WANT_READ;
}

/*
 * Fails what no mapping allows, so that a page ahead behind the end of a
 * mapping does not spoil a call for the pages before it. This is only to save
 * calls: hmm_range_fault() looks for itself.
 */
static void ff_batch_check_vmas(struct ff_ctx *ctx, unsigned int nr)
{
	struct mm_struct *mm = ctx->mirror.mm;
	struct vm_area_struct *vma = NULL;
	unsigned long address;
	unsigned int i;
	u64 *request;

	if (mmap_read_lock_killable(mm))
		return;
	for (i = 0; i < nr; i++) {
		request = &ctx->requests[i];
		address = *request & PAGE_MASK;
		if (!vma || address < vma->vm_start || address >= vma->vm_end)
			vma = vma_lookup(mm, address);
		ff_request_fail(ctx, request,
				*request & FF_WANT & ~ff_vma_allows(vma));
	}
	mmap_read_unlock(mm);
}

static bool ff_batch_demands(const u64 *requests, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (requests[i] & FF_DEMAND)
			return true;
	return false;
}

static int ff_batch_fault(struct ff_ctx *ctx, const u64 *requests,
			  unsigned int nr, bool write)
{
	struct ff_span span = {
		.start = requests[0] & PAGE_MASK,
		.end = (requests[nr - 1] & PAGE_MASK) + PAGE_SIZE,
		.request = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0),
	};

	return ff_mirror_fault(&ctx->mirror, &span, ctx->scratch);
}

/*
 * Serves a run: pages next to each other that ask for the same. If that fails
 * the run is halved, as long as there is a demand in it, until the page is
 * found that cannot be had; the others are served.
 */
static void ff_batch_run(struct ff_ctx *ctx, u64 *requests, unsigned int nr,
			 bool write)
{
	unsigned int i, half = nr / 2;
	int ret;

	ret = ff_batch_fault(ctx, requests, nr, write);
	if (!ret)
		return;
	if (nr > 1 && (ret == -EAGAIN || ff_batch_demands(requests, nr))) {
		ff_batch_run(ctx, requests, half, write);
		ff_batch_run(ctx, requests + half, nr - half, write);
		return;
	}
	for (i = 0; i < nr; i++)
		ff_request_fail(ctx, &requests[i],
				write ? FF_WANT_WRITE : FF_WANT_READ);
	/* A queue that only reads the page may still have it. */
	if (nr == 1 && write && *requests & FF_WANT_READ)
		ff_batch_run(ctx, requests, 1, false);
}

static bool ff_same_run(u64 a, u64 b, bool write)
{
	return (a & PAGE_MASK) + PAGE_SIZE == (b & PAGE_MASK) &&
	       ALIGN_DOWN(a, FF_SPAN_SIZE) == ALIGN_DOWN(b, FF_SPAN_SIZE) &&
	       b & FF_WANT && !!(b & FF_WANT_WRITE) == write;
}

/* Has the pages of the batch made present, run by run. */
static void ff_batch_populate(struct ff_ctx *ctx, unsigned int nr)
{
	u64 *requests = ctx->requests;
	unsigned int i, run;
	bool write;

	/* The process is gone or going, and takes its memory with it. */
	if (current->mm != ctx->mirror.mm) {
		for (i = 0; i < nr; i++)
			ff_request_fail(ctx, &requests[i], FF_WANT);
		return;
	}
	ff_ahead_serve(ctx);
	ff_batch_drop_mapped(ctx, nr);
	ff_batch_check_vmas(ctx, nr);

	for (i = 0; i < nr; i += run) {
		run = 1;
		if (!(requests[i] & FF_WANT))
			continue;
		write = requests[i] & FF_WANT_WRITE;
		while (i + run < nr &&
		       ff_same_run(requests[i + run - 1], requests[i + run],
				   write))
			run++;
		ff_batch_run(ctx, requests + i, run, write);
		cond_resched();
	}
}

/* Whether a demand of the group failed; *address then says which. */
static bool ff_group_failed(struct ff_ctx *ctx, struct ff_queue *queue,
			    unsigned int nr, u64 *address)
{
	u64 *found, demanded, failed;
	unsigned int i;

	for (i = 0; i < queue->nr; i++) {
		demanded = (queue->requests[i] & FF_DEMAND) >> FF_DEMAND_SHIFT;
		if (!demanded)
			continue;
		found = bsearch(&queue->requests[i], ctx->requests, nr,
				sizeof(u64), ff_request_compare);
		failed = found ? (*found & FF_FAILED) >> FF_FAILED_SHIFT : 0;
		if (!(failed & demanded))
			continue;
		*address = *found & PAGE_MASK;
		if (*address == (queue->demand & PAGE_MASK))
			*address = queue->demand;
		return true;
	}
	return false;
}

/* Posts the answer to a group. From then on the queue may fault again. */
static void ff_group_respond(struct ff_ctx *ctx, struct ff_queue *queue,
			     unsigned int nr)
{
	struct ff_device *ff = ctx->ff;
	u32 group = queue->group;
	u64 address = 0;
	bool fail = ff_group_failed(ctx, queue, nr, &address);
	struct ff_command command = {
		.opcode = FF_CMD_PAGE_RESPONSE,
		.flags = fail ? FF_RESPONSE_FAIL : 0,
		.queue = cpu_to_le16(queue->id),
		.pasid = cpu_to_le32(ctx->mirror.pasid),
		.address = cpu_to_le64(address),
		.value = cpu_to_le64(group),
	};

	lockdep_assert_held(&ctx->lock);
	spin_lock(&ff->queue_lock);
	queue->state = FF_GROUP_COLLECTING;
	queue->nr = 0;
	queue->ahead.rounds++;
	spin_unlock(&ff->queue_lock);
	if (!queue->alive)
		return;

	ff_command_post(ff, &command);
	ff_count(&ff->counters, FF_COUNT_GROUPS, 1);
	ff_count(&ff->counters, fail ? FF_COUNT_RESPONSES_FAIL :
		 FF_COUNT_RESPONSES_RESUME, 1);
	trace_ff_response(ctx->mirror.pasid, queue->id, group, fail, address);
}

/* Answers all groups of the batch with one doorbell. */
static void ff_batch_respond(struct ff_ctx *ctx, unsigned int nr)
{
	unsigned int i;

	mutex_lock(&ctx->lock);
	for (i = 0; i < ctx->nr_groups; i++)
		ff_group_respond(ctx, ctx->groups[i], nr);
	mutex_unlock(&ctx->lock);
	ff_command_ring(ctx->ff);
	for (i = 0; i < ctx->nr_groups; i++)
		ff_queue_put(ctx->groups[i]);
}

/**
 * ff_batch_serve() - Serve the fault groups that wait
 * @ctx: context; nobody else serves it at the same time
 *
 * In a task that is not of the process, all of them are refused.
 *
 * Return: whether there were any.
 */
bool ff_batch_serve(struct ff_ctx *ctx)
{
	unsigned int requests = ff_batch_take(ctx);
	unsigned int nr;

	if (!requests)
		return false;
	nr = ff_batch_merge(ctx, requests);
	ff_count(&ctx->ff->counters, FF_COUNT_BATCHES, 1);
	trace_ff_batch(ctx->mirror.pasid, ctx->nr_groups, requests, nr);
	ff_batch_populate(ctx, nr);
	ff_batch_respond(ctx, nr);
	cond_resched();
	return true;
}
