// SPDX-License-Identifier: GPL-2.0-only
/*
 * A span: pages of a batch that lie side by side within 2 MiB and ask for the
 * same, so that one call of the mirror makes them present.
 */
#include "hw/device.h"
#include "mirror/exclusive.h"
#include "service/service.h"

/**
 * ff_request_fail() - Some wants of a request cannot be had
 * @service: service
 * @request: request
 * @wants: FF_ACCESS bits; what is demanded of them has failed, the rest is dropped
 * @cause: why
 */
void ff_request_fail(struct ff_service *service, struct ff_request *request,
		     u8 wants, enum ff_cause cause)
{
	u8 demanded = wants & request->demand;

	if (request->want & wants && !demanded)
		ff_count(&service->ff->counters, FF_COUNT_LOOKAHEADS_DROPPED,
			 1);
	if (demanded)
		request->cause = cause;
	request->failed |= demanded;
	request->want &= ~wants;
}

static bool ff_span_demands(const struct ff_request *requests, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (requests[i].demand)
			return true;
	return false;
}

/*
 * Pages from the first of @requests on, which the others are like. Once a signal
 * has come nothing is done any more: the batch begins anew when it has been taken.
 */
static int ff_span_fault(struct ff_service *service,
			 const struct ff_request *requests, unsigned int pages,
			 bool write)
{
	struct ff_span span = {
		.start = requests->address,
		.end = requests->address + pages * PAGE_SIZE,
		.ask = true,
	};
	int ret = -ERESTARTSYS;

	if (!requests->present_only)
		span.request = HMM_PFN_REQ_FAULT |
			       (write ? HMM_PFN_REQ_WRITE : 0);
	if (!service->interrupted)
		ret = ff_populate(service->mirror, &span, service->scratch);
	service->interrupted |= ret == -ERESTARTSYS;
	return ret;
}

/*
 * Gives up a page that is demanded and cannot be had. If mm has nothing against it
 * by now, what was in the way has gone, and it is asked for once more.
 */
static void ff_span_give_up(struct ff_service *service,
			    struct ff_request *request, bool write, int error)
{
	struct ff_mirror *mirror = service->mirror;
	enum ff_cause cause;

	cause = ff_cause_find(mirror, request->address, write, error);
	if (!cause) {
		error = ff_span_fault(service, request, 1, write);
		if (!error || error == -EAGAIN || service->interrupted)
			return;
		cause = ff_cause_find(mirror, request->address, write, error);
	}
	ff_request_fail(service, request, write ? FF_ACCESS_WRITE :
			FF_ACCESS_READ, cause ?: FF_CAUSE_ADDRESS);
}

/*
 * Takes a page for atomic operations, alone: what is around it is left to the CPU.
 * Returns whether all that was wanted of the page is done, or can wait. If the device
 * cannot have it for itself, who wants no more than to write may still have it.
 */
static bool ff_span_take(struct ff_service *service, struct ff_request *request)
{
	int ret = -ERESTARTSYS;

	if (!service->interrupted)
		ret = ff_exclusive_take(service->mirror, request->address,
					service->scratch);
	service->interrupted |= ret == -ERESTARTSYS;
	if (!ret || ret == -EAGAIN || service->interrupted)
		return true;
	ff_request_fail(service, request, FF_ACCESS_ATOMIC,
			ff_cause_find(service->mirror, request->address, true,
				      ret) ?: FF_CAUSE_ATOMIC);
	return !request->want;
}

/*
 * Has the pages made present. If that fails the span is halved, as long as there is
 * a demand in it, until the page is found that cannot be had; the others are served.
 * Pages ahead are dropped together.
 * What keeps changing is left out: the device finds it missing, and asks again.
 */
static void ff_span_fetch(struct ff_service *service,
			  struct ff_request *requests, unsigned int nr,
			  bool write)
{
	bool demanded = ff_span_demands(requests, nr);
	int ret = ff_span_fault(service, requests, nr, write);
	unsigned int i, half = nr / 2;

	if (!ret || service->interrupted)
		return;
	if (nr > 1 && (demanded || ret == -EAGAIN)) {
		ff_span_fetch(service, requests, half, write);
		ff_span_fetch(service, requests + half, nr - half, write);
	} else if (ret != -EAGAIN && demanded) {
		ff_span_give_up(service, requests, write, ret);
	} else if (ret != -EAGAIN) {
		for (i = 0; i < nr; i++)
			ff_request_fail(service, &requests[i],
					write ? FF_ACCESS_WRITE : FF_ACCESS_READ,
					FF_CAUSE_ADDRESS);
	}
	/* A queue that only reads the page may still have it. */
	if (nr == 1 && write && requests->want == FF_ACCESS_READ)
		ff_span_fetch(service, requests, 1, false);
}

/*
 * The device asks for some pages at a time, but says how far its command will go. So
 * the span takes in what the command comes to next, up to the end of the 2 MiB: one
 * call for it instead of two, and a group of faults less.
 *
 * Returns how many of the @nr requests, beginning with the @like ones, are served
 * in this way; 0 if there is nothing ahead or some of it cannot be had.
 */
static unsigned int ff_span_extend(struct ff_service *service,
				   const struct ff_request *requests,
				   unsigned int nr, unsigned int like,
				   bool write)
{
	const struct ff_request *last = &requests[like - 1];
	unsigned int pages = like + last->extent;
	u64 end = requests->address + pages * PAGE_SIZE;

	if (!last->extent || (write && !(last->stream & FF_ACCESS_WRITE)) ||
	    ff_span_fault(service, requests, pages, write))
		return 0;
	ff_count(&service->ff->counters, FF_COUNT_STREAM_PAGES, last->extent);
	while (like < nr && requests[like].address < end &&
	       !(requests[like].want & FF_ACCESS_ATOMIC) &&
	       (write || !(requests[like].want & FF_ACCESS_WRITE)))
		like++;
	return like;
}

/* Whether @b is the page behind @a and asks for the same. */
static bool ff_span_goes_on(const struct ff_request *a,
			    const struct ff_request *b, bool write)
{
	return a->address + PAGE_SIZE == b->address &&
	       ALIGN_DOWN(a->address, FF_SPAN_SIZE) ==
	       ALIGN_DOWN(b->address, FF_SPAN_SIZE) &&
	       b->want && !(b->want & FF_ACCESS_ATOMIC) && !!(b->want & FF_ACCESS_WRITE) == write &&
	       a->present_only == b->present_only;
}

/*
 * Serves the first span of some requests, which are sorted by address, and of which the
 * first wants something. Returns how many have been served, or have failed.
 */
unsigned int ff_span_serve(struct ff_service *service,
			   struct ff_request *requests, unsigned int nr)
{
	bool write = requests->want & FF_ACCESS_WRITE;
	unsigned int served, like = 1;

	if (requests->want & FF_ACCESS_ATOMIC &&
	    ff_span_take(service, requests))
		return 1;
	while (like < nr &&
	       ff_span_goes_on(&requests[like - 1], &requests[like], write))
		like++;
	served = ff_span_extend(service, requests, nr, like, write);
	if (!served) {
		ff_span_fetch(service, requests, like, write);
		served = like;
	}
	ff_ahead_note(service, &requests[like - 1]);
	return served;
}
