// SPDX-License-Identifier: GPL-2.0-only
/*
 * Working ahead of a stream.
 *
 * A command that goes through memory says with each fault how far it will go. Once the
 * fault is answered, and no other one waits, what the command comes to next is made
 * present by the same thread: the device works on one part while the CPU side faults in
 * the next. It is a bounded part, and begins anew with each fault of the stream. Nothing
 * of it is owed: what cannot be had is left to the fault that asks for it.
 */
#include "hw/device.h"
#include "mirror/prefer.h"
#include "service/service.h"

/* How far ahead of a fault, beyond the 2 MiB in which it is. */
#define FF_AHEAD_SIZE	(8 * FF_SPAN_SIZE)

/**
 * ff_ahead_note() - A span was served, and a stream goes on behind its 2 MiB
 * @service: service
 * @last: last request of the span
 */
void ff_ahead_note(struct ff_service *service, const struct ff_request *last)
{
	u64 start = ALIGN_DOWN(last->address, FF_SPAN_SIZE) + FF_SPAN_SIZE;
	u64 end = start + (u64)last->beyond * PAGE_SIZE;
	struct ff_stream *stream = service->streams, *other;

	if (!last->beyond)
		return;
	/*
	 * Of the same stream there may be an earlier note: it has the same end. What
	 * was made present for it since is not looked at again.
	 */
	for (other = service->streams;
	     other < service->streams + FF_STREAMS; other++) {
		if (other->end == end) {
			stream = other;
			if (stream->start < stream->stop)
				start = max(start, stream->start);
			break;
		}
		if (other->start >= other->stop)
			stream = other;
	}
	stream->start = start;
	stream->end = end;
	stream->stop = min(end, start + FF_AHEAD_SIZE);
	stream->write = last->stream & FF_ACCESS_WRITE;
}

static void ff_ahead_drop(struct ff_service *service)
{
	unsigned int i;

	for (i = 0; i < FF_STREAMS; i++)
		service->streams[i].stop = 0;
}

/* Whether there is something to be made present ahead. */
bool ff_ahead_is_any(const struct ff_service *service)
{
	unsigned int i;

	for (i = 0; i < FF_STREAMS; i++)
		if (service->streams[i].start < service->streams[i].stop)
			return true;
	return false;
}

/* The stream whose turn it is, or NULL if there is none. */
static struct ff_stream *ff_ahead_next(struct ff_service *service)
{
	struct ff_stream *stream;
	unsigned int i;

	for (i = 0; i < FF_STREAMS; i++) {
		stream = &service->streams[service->turn++ % FF_STREAMS];
		if (stream->start < stream->stop)
			return stream;
	}
	return NULL;
}

/**
 * ff_ahead_serve() - Make the next span of some stream present
 * @service: service, of which nobody waits
 *
 * Return: whether there was one.
 */
bool ff_ahead_serve(struct ff_service *service)
{
	struct ff_mirror *mirror = service->mirror;
	struct ff_stream *stream = ff_ahead_next(service);
	struct ff_span span = { .request = HMM_PFN_REQ_FAULT };

	if (!stream)
		return false;
	/* What is moved there early would have others leave that are in use. */
	if (ff_prefer_is_tight(mirror)) {
		ff_ahead_drop(service);
		return false;
	}
	span.start = stream->start;
	span.end = min(stream->stop, span.start + FF_SPAN_SIZE);
	if (stream->write)
		span.request |= HMM_PFN_REQ_WRITE;
	stream->start = span.end;
	if (ff_populate(mirror, &span, service->scratch)) {
		stream->stop = 0;
		return true;
	}
	ff_count(&service->ff->counters, FF_COUNT_STREAM_PAGES,
		 (span.end - span.start) >> PAGE_SHIFT);
	return true;
}
