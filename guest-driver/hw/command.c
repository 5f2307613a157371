// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command queue: post, ring, wait.
 *
 * The device carries commands out in order, so a WAIT that has stored its
 * value means that all before it is done. There is one memory word for those
 * values; they only grow.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>

#include "hw/command.h"
#include "hw/device.h"

/* Commands that can be on their way; an invalidation takes two. */
#define FF_COMMAND_ENTRIES	1024

/*
 * How long to watch memory before sleeping until an interrupt. The device
 * needs about as long as for one section of a copy, which is less than a
 * sleep and an interrupt cost.
 */
#define FF_COMMAND_SPIN_NS	(20 * NSEC_PER_USEC)

/* Entries that only a caller takes that may not sleep until there is room. */
#define FF_COMMAND_RESERVE	64

/* How long a caller waits that may not sleep: some sections of the device. */
#define FF_COMMAND_POLL_NS	(10 * NSEC_PER_MSEC)

/* Long, for an emulated device may have to wait for its turn on a busy host. */
static unsigned int command_timeout = 30;
module_param(command_timeout, uint, 0644);
MODULE_PARM_DESC(command_timeout, "Seconds after which a device that carries out no command counts as lost");

/* Jiffies that a device has to carry out what it was told. */
unsigned long ff_command_patience(void)
{
	return clamp(READ_ONCE(command_timeout), 1U, 3600U) * HZ;
}

int ff_commands_init(struct ff_device *ff)
{
	struct ff_commands *commands = &ff->commands;
	size_t done = FF_RING_ENTRIES_OFFSET +
		      FF_COMMAND_ENTRIES * sizeof(struct ff_command);
	void *memory;

	memory = dmam_alloc_coherent(ff->dev, done + SMP_CACHE_BYTES,
				     &commands->ring_dma, GFP_KERNEL);
	if (!memory)
		return -ENOMEM;

	spin_lock_init(&commands->lock);
	init_waitqueue_head(&commands->wait);
	commands->ring = memory;
	commands->entries = memory + FF_RING_ENTRIES_OFFSET;
	commands->done = memory + done;
	commands->done_dma = commands->ring_dma + done;
	return 0;
}

/*
 * Lets everyone go who waits for a device that stopped. Only to be called once it is
 * certain that the device reaches no memory.
 */
void ff_commands_gone(struct ff_device *ff)
{
	WRITE_ONCE(ff->commands.gone, true);
	wake_up_all(&ff->commands.wait);
}

/*
 * Begins anew with an empty queue; the device takes up its index from the header when
 * it starts. What was posted before counts as done: a device that stops forgets its
 * queues and all translations.
 */
void ff_commands_restart(struct ff_device *ff)
{
	struct ff_commands *commands = &ff->commands;

	spin_lock(&commands->lock);
	commands->ring->head = cpu_to_le32(commands->tail);
	commands->ring->tail = cpu_to_le32(commands->tail);
	*commands->done = cpu_to_le64(commands->fence);
	WRITE_ONCE(commands->gone, false);
	spin_unlock(&commands->lock);
	writeq(commands->ring_dma, ff->regs + FF_REG_COMMAND_BASE);
	writel(FF_COMMAND_ENTRIES, ff->regs + FF_REG_COMMAND_ENTRIES);
}

/*
 * The device carries out nothing more, for a reason that is told, and somebody must not
 * return before it has let go of a page. Without bus mastering it reaches none.
 */
static void ff_command_give_up(struct ff_device *ff, const char *why)
{
	struct ff_commands *commands = &ff->commands;
	bool gone;

	/* Under the lock, so that who comes second does not return too early. */
	spin_lock(&commands->lock);
	gone = commands->gone;
	if (!gone)
		pci_clear_master(ff->pdev);
	WRITE_ONCE(commands->gone, true);
	spin_unlock(&commands->lock);
	if (gone)
		return;

	dev_err(ff->dev, "%s, device taken off the bus; write 1 to its reset file in sysfs to use it again\n",
		why);
	wake_up_all(&commands->wait);
	ff_lost(ff);
}

/* Gives up a device that is not there any more: for who waits, now and then. */
void ff_command_look(struct ff_device *ff)
{
	if (!ff_device_present(ff))
		ff_command_give_up(ff, "it does not answer");
}

/* Likewise, and of a device that has had @deadline jiffies for what it was told. */
void ff_command_look_until(struct ff_device *ff, unsigned long deadline)
{
	ff_command_look(ff);
	if (time_after(jiffies, deadline))
		ff_command_give_up(ff, "commands are not carried out");
}

/* Whether @nr entries of the ring are free. */
static bool ff_command_room(struct ff_commands *commands, u32 nr)
{
	u32 head = le32_to_cpu(READ_ONCE(commands->ring->head));

	lockdep_assert_held(&commands->lock);
	return commands->tail - head <= FF_COMMAND_ENTRIES - nr ||
	       READ_ONCE(commands->gone);
}

/* Takes the lock once there is room for an entry, which is rare not to be. */
static void ff_commands_lock(struct ff_device *ff, bool may_sleep)
{
	struct ff_commands *commands = &ff->commands;
	unsigned long deadline = jiffies + ff_command_patience();
	u32 need = may_sleep ? FF_COMMAND_RESERVE + 1 : 1;

	spin_lock(&commands->lock);
	while (!ff_command_room(commands, need)) {
		spin_unlock(&commands->lock);
		/* What fills the ring may not have been rung for yet. */
		ff_command_ring(ff);
		ff_command_look_until(ff, deadline);
		if (may_sleep)
			usleep_range(50, 200);
		else
			cpu_relax();
		spin_lock(&commands->lock);
	}
}

/*
 * Puts a command into the queue, and waits if that is full. A WAIT gets the next fence
 * as its value, which is returned. The device need not see it before ff_command_ring().
 */
u64 ff_command_post(struct ff_device *ff, const struct ff_command *command,
		    bool may_sleep)
{
	struct ff_commands *commands = &ff->commands;
	struct ff_command *entry;
	u64 fence;

	ff_commands_lock(ff, may_sleep);
	entry = &commands->entries[commands->tail % FF_COMMAND_ENTRIES];
	*entry = *command;
	if (command->opcode == FF_CMD_WAIT)
		entry->value = cpu_to_le64(++commands->fence);
	fence = commands->fence;

	/* The device sees the entry, and page tables before it, then the tail. */
	dma_wmb();
	WRITE_ONCE(commands->ring->tail, cpu_to_le32(++commands->tail));
	spin_unlock(&commands->lock);

	ff_count(&ff->counters, FF_COUNT_COMMANDS, 1);
	return fence;
}

static u64 ff_command_push_wait(struct ff_device *ff, u8 flags, bool may_sleep)
{
	struct ff_command command = {
		.opcode = FF_CMD_WAIT,
		.flags = flags,
		.address = cpu_to_le64(ff->commands.done_dma),
	};

	return ff_command_post(ff, &command, may_sleep);
}

/*
 * Has the device carry out any command but WAIT, and returns the fence that is passed
 * when it is done. Who may not sleep has called ff_command_reserve() before.
 */
u64 ff_command_submit(struct ff_device *ff, const struct ff_command *command,
		      bool may_sleep)
{
	u64 fence;

	ff_command_post(ff, command, may_sleep);
	fence = ff_command_push_wait(ff, 0, may_sleep);
	ff_command_ring(ff);
	return fence;
}

/*
 * Takes the reserve of the queue, so that a command can be submitted without sleeping;
 * false if there is no room, or somebody has it. Nobody else takes of it, so room that
 * is there now is there when the command is posted.
 */
bool ff_command_reserve(struct ff_device *ff)
{
	struct ff_commands *commands = &ff->commands;
	bool room;

	if (test_and_set_bit_lock(0, &commands->reserved))
		return false;
	scoped_guard(spinlock, &commands->lock)
		room = ff_command_room(commands, 2);
	if (!room)
		ff_command_unreserve(ff);
	return room;
}

void ff_command_unreserve(struct ff_device *ff)
{
	clear_bit_unlock(0, &ff->commands.reserved);
}

/* Makes the device look at what was posted. */
void ff_command_ring(struct ff_device *ff)
{
	ff_count(&ff->counters, FF_COUNT_COMMAND_DOORBELLS, 1);
	/* writel() orders the tail before the doorbell. */
	writel(0, ff->commands.doorbell);
}

/*
 * Whether all before a fence is done; what the device did before is then visible.
 * Fence 0 is always passed.
 */
bool ff_command_passed(struct ff_device *ff, u64 fence)
{
	if (!READ_ONCE(ff->commands.gone) &&
	    le64_to_cpu(READ_ONCE(*ff->commands.done)) < fence)
		return false;
	dma_rmb();
	return true;
}

static bool ff_command_spin(struct ff_device *ff, u64 fence, u64 ns)
{
	u64 deadline = ktime_get_mono_fast_ns() + ns;

	do {
		if (ff_command_passed(ff, fence))
			return true;
		cpu_relax();
	} while (ktime_get_mono_fast_ns() < deadline);
	return false;
}

/*
 * Waits until all before a fence is done. Sleeps, but depends on nothing but the
 * device: no memory, no lock, no work item. It cannot be killed, for its callers hand
 * out pages when it returns.
 */
void ff_command_wait(struct ff_device *ff, u64 fence)
{
	unsigned long deadline = jiffies + ff_command_patience();

	if (ff_command_spin(ff, fence, FF_COMMAND_SPIN_NS))
		return;

	/* The queue is in order: a later WAIT that interrupts covers @fence. */
	ff_count(&ff->counters, FF_COUNT_COMMAND_WAITS, 1);
	ff_command_push_wait(ff, FF_WAIT_IRQ, true);
	ff_command_ring(ff);
	while (!wait_event_timeout(ff->commands.wait,
				   ff_command_passed(ff, fence), HZ))
		ff_command_look_until(ff, deadline);
}

/* Waits for a moment, for who may not sleep. Returns whether the fence has passed. */
bool ff_command_poll(struct ff_device *ff, u64 fence)
{
	return ff_command_spin(ff, fence, FF_COMMAND_POLL_NS);
}

/* Carries out any command but WAIT, from post to done. */
void ff_command_run(struct ff_device *ff, const struct ff_command *command)
{
	ff_command_wait(ff, ff_command_submit(ff, command, true));
}
