// SPDX-License-Identifier: GPL-2.0-only
/*
 * The far-fault service.
 *
 * All groups that wait in a context are taken as one batch, the mirror makes
 * their pages present with as few calls as may be, and every group is answered,
 * whatever happened. Who does that is said in service/service.c.
 */
#include <linux/bsearch.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/userfaultfd_k.h>

#include "base/trace.h"
#include "base/upward.h"
#include "hw/device.h"
#include "service/service.h"

/* Takes the groups that wait, as many as there is room for. */
static unsigned int ff_batch_take(struct ff_service *service)
{
	struct ff_device *ff = service->ff;
	struct ff_queue *queue, *next;
	unsigned int nr = 0;

	service->nr_groups = 0;
	guard(spinlock)(&ff->queue_lock);
	list_for_each_entry_safe(queue, next, &service->ready, link) {
		if (nr + queue->nr > service->nr_requests)
			break;
		list_del_init(&queue->link);
		kref_get(&queue->ref);
		service->groups[service->nr_groups++] = queue;
		memcpy(service->requests + nr, queue->requests,
		       array_size(queue->nr, sizeof(struct ff_request)));
		nr += queue->nr;
	}
	return nr;
}

static int ff_request_compare(const void *a, const void *b)
{
	const struct ff_request *one = a, *other = b;

	return cmp_int(one->address, other->address);
}

static void ff_request_merge(struct ff_request *request,
			     const struct ff_request *other)
{
	request->want |= other->want;
	request->demand |= other->demand;
	if (other->extent + other->beyond > request->extent + request->beyond) {
		request->extent = other->extent;
		request->beyond = other->beyond;
		request->stream = other->stream;
	}
}

/* Sorts by address and merges requests for the same page. */
static unsigned int ff_batch_merge(struct ff_service *service, unsigned int nr)
{
	struct ff_request *requests = service->requests;
	unsigned int i, merged = 0;

	if (!nr)
		return 0;
	sort(requests, nr, sizeof(*requests), ff_request_compare, NULL);
	for (i = 1; i < nr; i++) {
		if (requests[i].address == requests[merged].address)
			ff_request_merge(&requests[merged], &requests[i]);
		else
			requests[++merged] = requests[i];
	}
	merged++;
	ff_count(&service->ff->counters, FF_COUNT_COALESCED, nr - merged);
	return merged;
}

/* The permission that a page is wanted with; it includes those that are less. */
static u64 ff_request_needs(const struct ff_request *request)
{
	if (request->want & FF_ACCESS_ATOMIC)
		return FF_PTE_ATOMIC;
	return request->want & FF_ACCESS_WRITE ? FF_PTE_WRITE : FF_PTE_READ;
}

/* Whoever asked for the same in the meantime has had it mapped. */
static void ff_batch_drop_mapped(struct ff_service *service, unsigned int nr)
{
	struct ff_mirror *mirror = service->mirror;
	struct ff_request *request;
	unsigned int i, stale = 0;

	guard(mutex)(&mirror->lock);
	for (i = 0; i < nr; i++) {
		request = &service->requests[i];
		if (!request->want)
			continue;
		if (ff_pgtable_lookup(&mirror->pgt, request->address).entry &
		    ff_request_needs(request)) {
			request->want = 0;
			stale++;
		}
	}
	ff_count(&service->ff->counters, FF_COUNT_STALE_FAULTS, stale);
}

/* The accesses that a mapping allows. */
static u8 ff_vma_allows(const struct vm_area_struct *vma)
{
	if (ff_vma_refuses(vma, false))
		return 0;
	return ff_vma_refuses(vma, true) ? FF_ACCESS_READ : FF_ACCESS;
}

/*
 * Fails what the mapping does not allow, and ends what is ahead where it ends,
 * so that a page behind its end does not spoil a call for the pages before it.
 * This is only to save calls: hmm_range_fault() looks for itself.
 */
static void ff_request_check_vma(struct ff_service *service,
				 struct ff_request *request,
				 struct vm_area_struct *vma)
{
	u8 allowed = ff_vma_allows(vma);
	unsigned long pages;

	ff_request_fail(service, request, request->want & ~allowed,
			FF_CAUSE_ADDRESS);
	if (!vma)
		return;
	/* A page ahead is not worth calling a handler. */
	if (userfaultfd_armed(vma)) {
		request->present_only = !request->demand;
		request->extent = 0;
		request->beyond = 0;
	}
	pages = request->stream & ~allowed ? 0 :
		(vma->vm_end - request->address - PAGE_SIZE) >> PAGE_SHIFT;
	request->extent = min(request->extent, pages);
	request->beyond = min(request->beyond, pages - request->extent);
}

static void ff_batch_check_vmas(struct ff_service *service, unsigned int nr)
{
	struct mm_struct *mm = service->mirror->mm;
	struct vm_area_struct *vma = NULL;
	unsigned long address;
	unsigned int i;

	if (mmap_read_lock_killable(mm))
		return;
	for (i = 0; i < nr; i++) {
		address = service->requests[i].address;
		if (!vma || address < vma->vm_start || address >= vma->vm_end)
			vma = vma_lookup(mm, address);
		ff_request_check_vma(service, &service->requests[i], vma);
	}
	mmap_read_unlock(mm);
}

/* Has the pages of the batch made present, span by span. */
static void ff_batch_populate(struct ff_service *service, unsigned int nr)
{
	struct ff_request *requests = service->requests;
	unsigned int i;

	/* The process is gone or going, and takes its memory with it. */
	if (current->mm != service->mirror->mm) {
		for (i = 0; i < nr; i++)
			ff_request_fail(service, &requests[i], FF_ACCESS,
					FF_CAUSE_ENDED);
		return;
	}
	static_call_cond(ff_up_taken)(service);
	ff_batch_drop_mapped(service, nr);
	ff_batch_check_vmas(service, nr);

	for (i = 0; i < nr && !service->interrupted;) {
		if (requests[i].want) {
			i += ff_span_serve(service, requests + i, nr - i);
			cond_resched();
		} else {
			i++;
		}
	}
}

/* Why a demand of the group failed, if one did; *address then says which. */
static enum ff_cause ff_group_failed(struct ff_service *service,
				     struct ff_queue *queue, unsigned int nr,
				     u64 *address)
{
	const struct ff_request *request, *found;
	unsigned int i;

	if (queue->refused) {
		*address = queue->demand;
		return FF_CAUSE_ADDRESS;
	}
	for (i = 0; i < queue->nr; i++) {
		request = &queue->requests[i];
		if (!request->demand)
			continue;
		found = bsearch(request, service->requests, nr, sizeof(*found),
				ff_request_compare);
		if (!found || !(found->failed & request->demand))
			continue;
		*address = found->address;
		if (*address == (queue->demand & PAGE_MASK))
			*address = queue->demand;
		return found->cause;
	}
	return FF_CAUSE_NONE;
}

/* What the device is told of a cause. */
static const u8 ff_response_flags[] = {
	[FF_CAUSE_ADDRESS] = FF_RESPONSE_FAIL,
	[FF_CAUSE_MEMORY] = FF_RESPONSE_FAIL | FF_RESPONSE_NO_MEMORY,
	[FF_CAUSE_ATOMIC] = FF_RESPONSE_FAIL | FF_RESPONSE_NO_ATOMIC,
	[FF_CAUSE_ENDED] = FF_RESPONSE_FAIL,
};

static void ff_response_count(struct ff_counters *counters, enum ff_cause cause)
{
	ff_count(counters, FF_COUNT_GROUPS, 1);
	ff_count(counters, cause ? FF_COUNT_RESPONSES_FAIL :
		 FF_COUNT_RESPONSES_RESUME, 1);
	ff_count(counters, FF_COUNT_FAIL_MEMORY, cause == FF_CAUSE_MEMORY);
	ff_count(counters, FF_COUNT_FAIL_ATOMIC, cause == FF_CAUSE_ATOMIC);
	ff_count(counters, FF_COUNT_FAIL_ENDED, cause == FF_CAUSE_ENDED);
}

/* Posts the answer to a group. From then on the queue may fault again. */
static void ff_group_respond(struct ff_service *service, struct ff_queue *queue,
			     unsigned int nr)
{
	struct ff_device *ff = service->ff;
	u32 group = queue->group;
	u64 address = 0;
	enum ff_cause cause = ff_group_failed(service, queue, nr, &address);
	struct ff_command command = {
		.opcode = FF_CMD_PAGE_RESPONSE,
		.flags = ff_response_flags[cause],
		.queue = cpu_to_le16(queue->id),
		.pasid = cpu_to_le32(service->mirror->pasid),
		.address = cpu_to_le64(address),
		.value = cpu_to_le64(group),
	};

	lockdep_assert_held(&service->lock);
	spin_lock(&ff->queue_lock);
	queue->state = FF_GROUP_COLLECTING;
	queue->nr = 0;
	queue->refused = false;
	queue->announcement.rounds++;
	spin_unlock(&ff->queue_lock);
	if (!queue->alive)
		return;

	ff_command_post(ff, &command, true);
	ff_response_count(&ff->counters, cause);
	trace_ff_response(service->mirror->pasid, queue->id, group, cause,
			  address);
}

/* Answers all groups of the batch with one doorbell. */
static void ff_batch_respond(struct ff_service *service, unsigned int nr)
{
	unsigned int i;
	int section;

	if (ff_device_enter(service->ff, &section)) {
		scoped_guard(mutex, &service->lock)
			for (i = 0; i < service->nr_groups; i++)
				ff_group_respond(service, service->groups[i], nr);
		ff_command_ring(service->ff);
		ff_device_exit(service->ff, section);
	}
	for (i = 0; i < service->nr_groups; i++)
		ff_queue_put(service->groups[i]);
}

/* A signal has come: the groups wait again, but for those of queues that ended. */
static void ff_batch_put_back(struct ff_service *service)
{
	struct ff_device *ff = service->ff;
	struct ff_queue *queue;

	while (service->nr_groups) {
		queue = service->groups[--service->nr_groups];
		scoped_guard(spinlock, &ff->queue_lock)
			if (ff->queues[queue->id] == queue)
				list_add(&queue->link, &service->ready);
		ff_queue_put(queue);
	}
}

/*
 * Serves the fault groups that wait, and returns whether there were any. Nobody else does
 * at the same time. In a task that is not of the process, all of them are refused. A
 * signal that does not kill ends the waiting for a page; the caller takes it and calls
 * again.
 */
bool ff_batch_serve(struct ff_service *service)
{
	unsigned int requests = ff_batch_take(service);
	unsigned int nr;

	if (!requests)
		return false;
	nr = ff_batch_merge(service, requests);
	ff_count(&service->ff->counters, FF_COUNT_BATCHES, 1);
	trace_ff_batch(service->mirror->pasid, service->nr_groups, requests,
		       nr);
	static_call_cond(ff_up_reached)(service->mirror, FF_STAGE_TAKEN);
	service->interrupted = false;
	ff_batch_populate(service, nr);
	if (service->interrupted) {
		ff_batch_put_back(service);
		return true;
	}
	static_call_cond(ff_up_reached)(service->mirror, FF_STAGE_SERVED);
	ff_batch_respond(service, nr);
	cond_resched();
	return true;
}
