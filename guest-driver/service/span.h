/* SPDX-License-Identifier: GPL-2.0-only */
/* A span: the part of a batch that lies within 2 MiB and asks for the same. */
#ifndef FF_SERVICE_SPAN_H
#define FF_SERVICE_SPAN_H

#include "mirror/cause.h"
#include "service/queue.h"

void ff_request_fail(struct ff_service *service, struct ff_request *request,
		     u8 wants, enum ff_cause cause);
unsigned int ff_span_serve(struct ff_service *service,
			   struct ff_request *requests, unsigned int nr);

#endif /* FF_SERVICE_SPAN_H */
