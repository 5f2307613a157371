// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the device tells of its access counters, until the thread of the process comes to
 * it. Faults go first, for somebody waits for them; nobody waits for this, so what is too
 * much is dropped, and told of again.
 */
#include <linux/types.h>
#include <linux/sched/vhost_task.h>

#include "hw/device.h"
#include "mirror/often.h"
#include "service/service.h"

/* The device has accessed something often. */
void ff_often_note(struct ff_service *service, u64 address)
{
	lockdep_assert_held(&service->ff->queue_lock);
	ff_count(&service->ff->counters, FF_COUNT_ACCESS_RECORDS, 1);
	if (service->retired || service->nr_often == FF_OFTEN)
		return;
	service->often[service->nr_often++] = address;
	vhost_task_wake(service->thread);
}

/**
 * ff_often_serve() - Move what the device has told of last
 * @service: service, of whose process this is the thread
 *
 * Return: whether there was something.
 */
bool ff_often_serve(struct ff_service *service)
{
	u64 address;

	scoped_guard(spinlock, &service->ff->queue_lock) {
		if (!service->nr_often)
			return false;
		address = service->often[--service->nr_often];
	}
	ff_often_move(service->mirror, address);
	return true;
}
