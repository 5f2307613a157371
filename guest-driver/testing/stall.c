// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults that are held up on their way, for tests of what ends meanwhile: a
 * process, a file, the driver. A word written to the file "stall" beside the
 * counters says at which stage; reading it shows them all.
 *
 * In the interrupt's thread, which is there for everybody, a stage is skipped
 * and made up for when another word is written. In the service, which is the
 * process's own, the thread sleeps, with no lock held, until then, until the
 * process is killed, or until the context closes, as it does when the driver is
 * unbound.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/string.h>

#include "base/upward.h"
#include "file/ctx.h"
#include "hw/device.h"
#include "testing/testing.h"

/* How long until a thread that sleeps looks again. */
#define FF_STALL_PERIOD	max(HZ / 100, 1)

static const char * const ff_stall_names[] = {
	[FF_STAGE_NONE] = "none",
	[FF_STAGE_POSTED] = "posted",
	[FF_STAGE_DRAINED] = "drained",
	[FF_STAGE_READY] = "ready",
	[FF_STAGE_TAKEN] = "taken",
	[FF_STAGE_FOUND] = "found",
	[FF_STAGE_SERVED] = "served",
};

/* Whoever refuses the faults of a process that is gone does not sleep. */
static void ff_stall(struct ff_mirror *mirror, enum ff_stage stage)
{
	struct ff_device *ff = mirror->ff;

	might_sleep();
	if (READ_ONCE(ff->stall) != stage || current->mm != mirror->mm)
		return;
	ff_count(&ff->counters, FF_COUNT_STALLED, 1);
	while (READ_ONCE(ff->stall) == stage && !READ_ONCE(mirror->closing) &&
	       !fatal_signal_pending(current))
		schedule_timeout_killable(FF_STALL_PERIOD);
}

static long ff_stall_skips(struct ff_device *ff, enum ff_stage stage)
{
	if (READ_ONCE(ff->stall) != stage)
		return false;
	ff_count(&ff->counters, FF_COUNT_STALLED, 1);
	return true;
}

/* Makes up for what has been skipped. */
static void ff_stall_resume(struct ff_device *ff)
{
	struct ff_ctx *ctx;
	unsigned long pasid;

	ff_faults_drain(ff);
	xa_lock(&ff->contexts);
	xa_for_each(&ff->contexts, pasid, ctx) {
		guard(spinlock)(&ff->queue_lock);
		if (!list_empty(&ctx->service.ready))
			ff_service_wake(&ctx->service);
	}
	xa_unlock(&ff->contexts);
}

static ssize_t stall_write(struct file *file, const char __user *text,
			   size_t length, loff_t *offset)
{
	struct ff_device *ff = file_inode(file)->i_private;
	char word[16] = "";
	int stage;

	if (length >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, text, length))
		return -EFAULT;
	stage = sysfs_match_string(ff_stall_names, word);
	if (stage < 0)
		return stage;
	WRITE_ONCE(ff->stall, stage);
	ff_stall_resume(ff);
	return length;
}

static int stall_show(struct seq_file *seq, void *unused)
{
	struct ff_device *ff = seq->private;
	unsigned int stage, stall = READ_ONCE(ff->stall);

	for (stage = 0; stage < ARRAY_SIZE(ff_stall_names); stage++)
		seq_printf(seq, stage == stall ? "[%s]\n" : "%s\n",
			   ff_stall_names[stage]);
	return 0;
}
DEFINE_SHOW_STORE_ATTRIBUTE(stall);

/* Called before any device is there. */
void __init ff_stall_init(void)
{
	static_call_update(ff_up_reached, ff_stall);
	static_call_update(ff_up_skips, ff_stall_skips);
}

void ff_stall_add(struct ff_device *ff)
{
	debugfs_create_file("stall", 0600, ff->debugfs, ff, &stall_fops);
}
