/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What driver and device share: registers, tables, commands, faults.
 * Made by farfault-abi-headers from device-model/abi: change it there.
 */
#ifndef FF_ABI_H
#define FF_ABI_H

#include <linux/bits.h>
#include <linux/types.h>

#include "uapi/farfault.h"

/* === PCI function: identifiers, BARs, MSI-X vectors === */

/*
 * PCI vendor ID; unassigned, in wide use for devices that exist only in
 * emulators.
 */
#define FF_PCI_VENDOR			0x1234

/* PCI device ID. */
#define FF_PCI_DEVICE			0xfa17

/*
 * PCI class code: processing accelerator (PCI Code and ID Assignment,
 * base class 12h).
 */
#define FF_PCI_CLASS			0x120000

/*
 * BAR of the registers and, behind them, the MSI-X table and pending
 * bits.
 */
#define FF_BAR_REGISTERS		0

/* Bytes of the register BAR. */
#define FF_BAR_REGISTERS_SIZE		0x4000

/*
 * Where the MSI-X table is in the register BAR; the capability says so,
 * too.
 */
#define FF_MSIX_TABLE			0x2000

/* BAR of the doorbell pages. */
#define FF_BAR_DOORBELLS		4

/* Bytes of the doorbell BAR. */
#define FF_BAR_DOORBELLS_SIZE		0x80000

/*
 * Bytes from one doorbell page to the next; one page can be mapped into
 * one process.
 */
#define FF_DOORBELL_STRIDE		0x1000

/*
 * User-mode queues; queue q rings with a 32-bit write of anything to the
 * start of page q.
 */
#define FF_QUEUES			64

/*
 * Doorbell page of the command queue, behind those of the user-mode
 * queues.
 */
#define FF_DOORBELL_COMMAND		64

/* MSI-X vectors. */
#define FF_VECTORS			10

/* Vector: the fault queue has become non-empty. */
#define FF_VECTOR_FAULT			0

/* Vector: a WAIT command with the interrupt flag has been carried out. */
#define FF_VECTOR_COMMAND		1

/* First vector for completions of user-mode queues. */
#define FF_VECTOR_QUEUE			2

/* === Registers (BAR 0) === */

/* 32-bit, read only: FF_ID_MAGIC. */
#define FF_REG_ID			0x000

/*
 * 32-bit, read only: major version in the upper half, minor in the
 * lower.
 */
#define FF_REG_VERSION			0x004

/* 64-bit, read only: FEATURE bits. */
#define FF_REG_FEATURES			0x008

/* 32-bit, read only: number of user-mode queues. */
#define FF_REG_QUEUES			0x010

/* 32-bit, read only: number of engines, which run queues side by side. */
#define FF_REG_ENGINES			0x014

/* 32-bit, read only: bits of a virtual address. */
#define FF_REG_VA_BITS			0x018

/* 32-bit, read only: bits of a PASID. */
#define FF_REG_PASID_BITS		0x01c

/* 32-bit, read only: most pages one fault group asks for. */
#define FF_REG_LOOKAHEAD		0x020

/* 32-bit, read only: number of MSI-X vectors. */
#define FF_REG_VECTORS			0x024

/* 64-bit, read only: bytes of device memory, which a reset makes zeroes. */
#define FF_REG_VRAM			0x028

/* 32-bit, read-write: CTRL bits. */
#define FF_REG_CTRL			0x040

/* 32-bit, read only: STATUS bits. */
#define FF_REG_STATUS			0x044

/* 32-bit, write 1 to clear: ERR bits, each sticky. */
#define FF_REG_ERRORS			0x048

/*
 * 64-bit, writable while disabled: DMA address of the context table, 4
 * KiB aligned.
 */
#define FF_REG_CONTEXT_BASE		0x050

/*
 * 32-bit, writable while disabled: entries of the context table, up to
 * 2^PASID_BITS.
 */
#define FF_REG_CONTEXT_ENTRIES		0x058

/*
 * 64-bit, writable while disabled: DMA address of the command queue's
 * ring header, 128-byte aligned.
 */
#define FF_REG_COMMAND_BASE		0x060

/*
 * 32-bit, writable while disabled: entries of the command queue, a power
 * of two.
 */
#define FF_REG_COMMAND_ENTRIES		0x068

/*
 * 64-bit, writable while disabled: DMA address of the fault queue's ring
 * header, 128-byte aligned.
 */
#define FF_REG_FAULT_BASE		0x070

/*
 * 32-bit, writable while disabled: entries of the fault queue, a power
 * of two.
 */
#define FF_REG_FAULT_ENTRIES		0x078

/*
 * First of the 64-bit, read-only counters; counter n is 8 * n bytes
 * further.
 */
#define FF_REG_COUNTERS			0x100

/* What FF_REG_ID reads: "FFLT". */
#define FF_ID_MAGIC			0x544c4646

/* What FF_REG_VERSION reads. */
#define FF_VERSION			0x00020003

/* 2 MiB leaves. */
#define FF_FEATURE_LEAF_2M		BIT_ULL(0)

/* 1 GiB leaves. */
#define FF_FEATURE_LEAF_1G		BIT_ULL(1)

/*
 * Atomic operations are atomic to CPUs, wherever the memory is
 * (AtomicOps of PCI Express). Without it they are atomic to other
 * engines only, and need FF_PTE_ATOMIC(crate::pte::PTE_ATOMIC).
 */
#define FF_FEATURE_ATOMICS		BIT_ULL(2)

/* Access counters (CMD_COUNT_ACCESSES). */
#define FF_FEATURE_ACCESS_COUNTERS	BIT_ULL(3)

/* Bits of a virtual address. */
#define FF_VA_BITS			48

/* Bits of a PASID. */
#define FF_PASID_BITS			16

/*
 * The device works. Setting it makes the device read the base registers;
 * clearing it stops all memory access, disables all queues, and forgets
 * all translations and held faults.
 */
#define FF_CTRL_ENABLE			BIT(0)

/* The device accepted its base registers and works. */
#define FF_STATUS_READY			BIT(0)

/*
 * A register was accessed with a wrong width or alignment, or written
 * when it may not be.
 */
#define FF_ERR_ACCESS			BIT(0)

/*
 * A base or entries register held no usable value when the device was
 * enabled.
 */
#define FF_ERR_BASE			BIT(1)

/*
 * A command had an unknown opcode or an operand out of range, and was
 * skipped.
 */
#define FF_ERR_COMMAND			BIT(2)

/*
 * The command queue or a WAIT address cannot be reached, or its tail is
 * wild.
 */
#define FF_ERR_COMMAND_RING		BIT(3)

/* The fault queue cannot be reached, or its head is wild. */
#define FF_ERR_FAULT_RING		BIT(4)

/* A fault record had to be held back because the fault queue was full. */
#define FF_ERR_FAULT_OVERFLOW		BIT(5)

/* A doorbell was rung for a queue that is not enabled. */
#define FF_ERR_DOORBELL			BIT(6)

/*
 * A page table or the context table was malformed or pointed outside
 * memory.
 */
#define FF_ERR_TABLE			BIT(7)

/* A memory access was refused because bus mastering is off. */
#define FF_ERR_BUS_MASTER		BIT(8)

/* Counter: page requests posted. */
#define FF_COUNTER_PAGE_REQUESTS	0

/* Counter: page requests posted for pages ahead. */
#define FF_COUNTER_LOOKAHEADS		1

/* Counter: fault groups posted. */
#define FF_COUNTER_FAULT_GROUPS		2

/*
 * Counter: fault groups that had to wait for room or were cut short by a
 * full queue.
 */
#define FF_COUNTER_FAULT_OVERFLOWS	3

/* Counter: user-mode queues halted. */
#define FF_COUNTER_QUEUES_HALTED	4

/* Counter: page responses that resumed a queue. */
#define FF_COUNTER_RESPONSES_RESUME	5

/* Counter: page responses that failed a command. */
#define FF_COUNTER_RESPONSES_FAIL	6

/* Counter: page responses for a group that no longer waits. */
#define FF_COUNTER_RESPONSES_STALE	7

/* Counter: commands of the driver carried out. */
#define FF_COUNTER_COMMANDS		8

/* Counter: commands of the driver skipped as wrong. */
#define FF_COUNTER_COMMANDS_BAD		9

/* Counter: invalidations carried out. */
#define FF_COUNTER_INVALIDATIONS	10

/* Counter: WAIT commands carried out. */
#define FF_COUNTER_WAITS		11

/* Counter: translations found in a TLB. */
#define FF_COUNTER_TLB_HITS		12

/* Counter: translations not found in a TLB. */
#define FF_COUNTER_TLB_MISSES		13

/* Counter: page-table walks, look-ahead included. */
#define FF_COUNTER_WALKS		14

/* Counter: walks ended by a malformed or unreachable table. */
#define FF_COUNTER_TABLE_FAULTS		15

/* Counter: sections opened. */
#define FF_COUNTER_SECTIONS		16

/* Counter: descriptors completed with status OK. */
#define FF_COUNTER_DESCRIPTORS		17

/* Counter: descriptors completed with another status. */
#define FF_COUNTER_DESCRIPTORS_FAILED	18

/* Counter: bytes read through page tables by commands. */
#define FF_COUNTER_BYTES_READ		19

/* Counter: bytes written through page tables by commands. */
#define FF_COUNTER_BYTES_WRITTEN	20

/* Counter: doorbells of user-mode queues. */
#define FF_COUNTER_DOORBELLS		21

/* Counter: doorbells without an enabled queue. */
#define FF_COUNTER_DOORBELLS_WILD	22

/* Counter: interrupts on VECTOR_FAULT. */
#define FF_COUNTER_MSIX_FAULT		23

/* Counter: interrupts on VECTOR_COMMAND. */
#define FF_COUNTER_MSIX_COMMAND		24

/* Counter: interrupts on completion vectors. */
#define FF_COUNTER_MSIX_QUEUE		25

/* Counter: register accesses of wrong width, alignment or time. */
#define FF_COUNTER_BAD_ACCESSES		26

/* Counter: of the bytes read, those in device memory. */
#define FF_COUNTER_DEVICE_BYTES_READ	27

/* Counter: of the bytes written, those in device memory. */
#define FF_COUNTER_DEVICE_BYTES_WRITTEN	28

/* Counter: records that tell of accesses. */
#define FF_COUNTER_ACCESS_RECORDS	29

/* Counter: those that found no room, and are lost. */
#define FF_COUNTER_ACCESS_RECORDS_LOST	30

/* Number of counters. */
#define FF_COUNTERS			31

/* === Context table: PASID to page table === */

/* ff_context.root: the entry names a page table. */
#define FF_CONTEXT_VALID		BIT_ULL(0)

/*
 * ff_context.root: DMA address of the top-level table; all other bits
 * are zero.
 */
#define FF_CONTEXT_ROOT			GENMASK_ULL(51, 12)

/**
 * struct ff_context - An entry of the context table; the PASID is its
 * index.
 * @root: CONTEXT bits.
 * @reserved: Zero.
 */
struct ff_context {
	__le64 root;
	__le64 reserved;
};

_Static_assert(sizeof(struct ff_context) == 16, "size");

/* === Page-table entries === */

/* The entry means something; otherwise the rest of it is the driver's. */
#define FF_PTE_VALID			BIT_ULL(0)

/* Leaf: the device may read. */
#define FF_PTE_READ			BIT_ULL(1)

/* Leaf: the device may write. */
#define FF_PTE_WRITE			BIT_ULL(2)

/* The entry maps memory. */
#define FF_PTE_LEAF			BIT_ULL(3)

/* Leaf: the address is an offset in device memory, and no DMA address. */
#define FF_PTE_DEVICE			BIT_ULL(4)

/*
 * Leaf: no CPU has the memory, so a read and a write by the device are
 * one step to all. A device with
 * FF_FEATURE_ATOMICS(crate::regs::FEATURE_ATOMICS) does not look at it.
 */
#define FF_PTE_ATOMIC			BIT_ULL(5)

/* Bits the device ignores, for the driver. */
#define FF_PTE_SOFTWARE			GENMASK_ULL(11, 9)

/*
 * DMA address of the frame or of the table below; bits not named here
 * are zero.
 */
#define FF_PTE_ADDRESS			GENMASK_ULL(51, 12)

/* Levels of the table. */
#define FF_PT_LEVELS			4

/* Address bits that one level resolves. */
#define FF_PT_BITS			9

/* Entries of one table. */
#define FF_PT_ENTRIES			512

/* === Command queue === */

/*
 * Drops the translations of value bytes at address (both multiples of 4
 * KiB) for pasid; a value of 0 means all of the PASID. Done when no
 * access through them is left.
 */
#define FF_CMD_INVALIDATE		1

/*
 * Answers fault group value of queue: it goes on, or with
 * FF_RESPONSE_FAIL its command ends with STATUS_FAULT at address.
 */
#define FF_CMD_PAGE_RESPONSE		2

/*
 * Stores value as a u64 at DMA address address; with FF_WAIT_IRQ also
 * raises VECTOR_COMMAND.
 */
#define FF_CMD_WAIT			3

/*
 * Binds queue to pasid, its ring header at virtual address address with
 * value entries, completions interrupting on vector extra; the queue
 * starts from the head that its header holds.
 */
#define FF_CMD_QUEUE_ENABLE		4

/*
 * Unbinds queue. Done when nothing of it is in flight; what it had
 * parked or held is dropped.
 */
#define FF_CMD_QUEUE_DISABLE		5

/*
 * Counts what pasid accesses in system memory, by
 * FF_ACCESS_COUNTER_BYTES(crate::fault::ACCESS_COUNTER_BYTES), and tells
 * of each that has had value accesses since it was last told of. A value
 * of 0 ends it.
 */
#define FF_CMD_COUNT_ACCESSES		6

/* Flag of CMD_PAGE_RESPONSE: the page cannot be had. */
#define FF_RESPONSE_FAIL		BIT(0)

/*
 * Flag of CMD_PAGE_RESPONSE, with FF_RESPONSE_FAIL: for want of memory,
 * so the command ends with STATUS_NO_MEMORY instead.
 */
#define FF_RESPONSE_NO_MEMORY		BIT(1)

/*
 * Flag of CMD_PAGE_RESPONSE, with FF_RESPONSE_FAIL: the device cannot
 * have the page for itself, so the command ends with STATUS_NO_ATOMIC
 * instead.
 */
#define FF_RESPONSE_NO_ATOMIC		BIT(2)

/* Flag of CMD_WAIT: interrupt too. */
#define FF_WAIT_IRQ			BIT(0)

/**
 * struct ff_command - An entry of the command queue; fields that a command
 * does not use are zero.
 * @opcode: CMD value.
 * @flags: RESPONSE or WAIT bits.
 * @queue: User-mode queue.
 * @pasid: Address space.
 * @address: As the opcode says.
 * @value: As the opcode says.
 * @extra: As the opcode says.
 */
struct ff_command {
	__u8 opcode;
	__u8 flags;
	__le16 queue;
	__le32 pasid;
	__le64 address;
	__le64 value;
	__le64 extra;
};

_Static_assert(sizeof(struct ff_command) == 32, "size");

/* === Fault queue === */

/* Record: the device needs a page. */
#define FF_FAULT_PAGE_REQUEST		1

/* Record: the device halted a queue; no response is expected. */
#define FF_FAULT_QUEUE_HALTED		2

/*
 * Record: the FF_ACCESS_COUNTER_BYTES around address, where the last
 * access was, have had as many as CMD_COUNT_ACCESSES says; no response
 * is expected. It is lost if there is no room for it.
 */
#define FF_FAULT_ACCESSES		3

/* What an access counter is for, aligned. */
#define FF_ACCESS_COUNTER_BYTES		BIT_ULL(16)

/*
 * What counts as one access, or less: an access counter is of an engine,
 * and is forgotten when it is needed for other memory.
 */
#define FF_ACCESS_BYTES			64

/* Access: read. */
#define FF_ACCESS_READ			BIT(0)

/* Access: write. */
#define FF_ACCESS_WRITE			BIT(1)

/*
 * Access: both in one step, which needs
 * FF_PTE_ATOMIC(crate::pte::PTE_ATOMIC).
 */
#define FF_ACCESS_ATOMIC		BIT(2)

/* Flag: the last record of its group. */
#define FF_FAULT_LAST			BIT(0)

/*
 * Flag: a page ahead, which the command will want but does not wait for.
 * A driver that cannot supply it leaves it be; should the command get
 * there, it asks again without this flag.
 */
#define FF_FAULT_LOOKAHEAD		BIT(1)

/**
 * struct ff_fault - An entry of the fault queue.
 * @address: Virtual address of the access; for a page ahead, of the
 *   page.
 * @pasid: Address space.
 * @queue: User-mode queue.
 * @kind: FAULT kind.
 * @access: ACCESS bits.
 * @group: Group of the queue, counted from 1 since it was enabled; 0
 *   when no response is expected.
 * @flags: FAULT flags.
 * @reason: REASON value.
 * @level: Level of the page table at which the walk ended, 3 being the
 *   top.
 * @reserved0: Zero.
 * @extent: Pages behind this one that the command will come to next with
 *   the same access, as far as it can tell; 0 if it cannot.
 * @reserved1: Zero.
 */
struct ff_fault {
	__le64 address;
	__le32 pasid;
	__le16 queue;
	__u8 kind;
	__u8 access;
	__le32 group;
	__u8 flags;
	__u8 reason;
	__u8 level;
	__u8 reserved0;
	__le32 extent;
	__le32 reserved1;
};

_Static_assert(sizeof(struct ff_fault) == 32, "size");

#endif /* FF_ABI_H */
