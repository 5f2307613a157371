/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What programs share with the farfault driver and, through queues, with
 * the device. Structures only grow at the end; numbers are never reused.
 * Made by farfault-abi-headers from device-model/abi: change it there.
 */
#ifndef _UAPI_FARFAULT_H
#define _UAPI_FARFAULT_H

#include <linux/ioctl.h>
#include <linux/types.h>

#ifdef __cplusplus
#define _Static_assert static_assert
#endif

/* === Rings === */

/* Alignment of a ring header, and the offset of entry 0 from it. */
#define FF_RING_ENTRIES_OFFSET		128

/* Fewest entries of a ring. */
#define FF_RING_MIN_ENTRIES		2

/* Most entries of a ring; the number is a power of two. */
#define FF_RING_MAX_ENTRIES		65536

/**
 * struct ff_ring_header - The header of a ring.
 * @tail: Next entry that the producer will write; written by the
 *   producer only.
 * @overflows: Fault queue: how often a record had to wait for room;
 *   written by the producer only.
 * @reserved0: Zero.
 * @head: Next entry that the consumer will read; written by the consumer
 *   only.
 * @halted: User-mode queue: 0, or the REASON for which the device has
 *   halted it; written by the consumer only.
 * @reserved1: Zero.
 */
struct ff_ring_header {
	__le32 tail;
	__le32 overflows;
	__le64 reserved0[7];
	__le32 head;
	__le32 halted;
	__le64 reserved1[7];
};

_Static_assert(sizeof(struct ff_ring_header) == 128, "size");

/* === Why an access was refused, or a queue has halted === */

/* No valid entry. */
#define FF_REASON_NOT_PRESENT		1

/* An entry without the permission needed. */
#define FF_REASON_PERMISSION		2

/*
 * An entry with reserved bits set, a misaligned frame, or a leaf where
 * none may be.
 */
#define FF_REASON_MALFORMED		3

/* An entry that points outside memory. */
#define FF_REASON_UNREACHABLE		4

/* No valid context for the PASID. */
#define FF_REASON_CONTEXT		5

/* A ring index was wild, or a page response refused the ring. */
#define FF_REASON_RING			6

/* A page response refused the completion record, or it is misaligned. */
#define FF_REASON_COMPLETION		7

/* === Descriptors and completions of user-mode queues === */

/* Does nothing. */
#define FF_OP_NOP			1

/*
 * Stores operand as a u64 at destination after all earlier commands of
 * the queue.
 */
#define FF_OP_FENCE			2

/*
 * Copies length bytes from source to destination; the two may be equal
 * but not otherwise overlap.
 */
#define FF_OP_COPY			3

/*
 * Fills length bytes at destination; byte i becomes byte i modulo 8 of
 * operand.
 */
#define FF_OP_FILL			4

/*
 * Compares length bytes; the result is the offset of the first
 * difference, or length.
 */
#define FF_OP_COMPARE			5

/*
 * Adds operand to the u64 at destination in one atomic step; the result
 * is the old value.
 */
#define FF_OP_FETCH_ADD			6

/*
 * Counts words in length bytes at source: runs of bytes other than space
 * and 0x09 to 0x0d.
 */
#define FF_OP_WORD_COUNT		7

/*
 * Counts each byte value in length bytes at source into 256 u64 at
 * destination.
 */
#define FF_OP_HISTOGRAM			8

/*
 * For length f32 elements: destination[i] += operand * source[i],
 * operand holding an f32 in its low half, multiply and add each rounded;
 * the two may be equal but not otherwise overlap.
 */
#define FF_OP_SAXPY			9

/*
 * Follows pointers: from the node at source, the next node's address is
 * the u64 at node + operand, until it is 0 or length nodes were seen.
 * The result is the wrapping sum of the u64 at node + operand2.
 */
#define FF_OP_CHASE			10

/* Descriptor flag: raise the queue's completion interrupt when done. */
#define FF_DESC_IRQ			(1U << 0)

/* The command did all it should. */
#define FF_STATUS_OK			0

/*
 * An access was refused; fault_address says where. What came before it
 * in the command is done.
 */
#define FF_STATUS_FAULT			1

/* The opcode is unknown. */
#define FF_STATUS_BAD_OPCODE		2

/*
 * An operand is misaligned, operands overlap, a reserved field is not
 * zero, or an unknown flag is set.
 */
#define FF_STATUS_BAD_OPERAND		3

/*
 * A range of addresses wraps or leaves the address space; fault_address
 * says where it starts.
 */
#define FF_STATUS_BAD_ADDRESS		4

/*
 * As STATUS_FAULT, but nothing was wrong with the access: there was no
 * memory for the page.
 */
#define FF_STATUS_NO_MEMORY		5

/*
 * As STATUS_FAULT, for an atomic operation: the device cannot have the
 * page for itself.
 */
#define FF_STATUS_NO_ATOMIC		6

/**
 * struct ff_descriptor - One command of a program.
 * @opcode: OP value.
 * @flags: DESC bits.
 * @reserved0: Zero.
 * @reserved1: Zero.
 * @source: Virtual address to read from.
 * @destination: Virtual address to write to.
 * @length: Bytes, elements or nodes, as the opcode says.
 * @operand: As the opcode says.
 * @operand2: As the opcode says.
 * @completion: Virtual address of the completion record, 64-byte
 *   aligned, or 0 for none.
 * @fence: Value for the record's fence.
 */
struct ff_descriptor {
	__u8 opcode;
	__u8 flags;
	__le16 reserved0;
	__le32 reserved1;
	__le64 source;
	__le64 destination;
	__le64 length;
	__le64 operand;
	__le64 operand2;
	__le64 completion;
	__le64 fence;
};

_Static_assert(sizeof(struct ff_descriptor) == 64, "size");

/**
 * struct ff_completion - How a command ended. The device writes fence last.
 * @fence: The descriptor's fence, stored after all else.
 * @status: STATUS value.
 * @reserved0: Zero.
 * @fault_address: The address that status speaks of.
 * @result: As the opcode says.
 * @done: Bytes, elements or nodes done.
 * @reserved1: Zero.
 */
struct ff_completion {
	__le64 fence;
	__le32 status;
	__le32 reserved0;
	__le64 fault_address;
	__le64 result;
	__le64 done;
	__le64 reserved1[3];
};

_Static_assert(sizeof(struct ff_completion) == 64, "size");

/* === ioctls === */

/* Version of this interface, in ff_info.version. */
#define FF_UAPI_VERSION			1

/*
 * Fills in an struct ff_info. (The first ioctl of a file fails with
 * EDQUOT if the user has too many contexts and lacks CAP_SYS_RESOURCE,
 * with ENOSPC if no PASID is free.)
 */
#define FF_IOC_INFO			_IOR(0xfa, 0, struct ff_info)

/*
 * Binds a ring in the caller's memory to a user-mode queue. EMFILE: the
 * context has too many; EDQUOT: its user has, and lacks
 * CAP_SYS_RESOURCE; ENOSPC: no queue is free; EIO: the device is lost.
 */
#define FF_IOC_QUEUE_CREATE		_IOWR(0xfa, 1, struct ff_queue_create)

/*
 * Takes a queue from the device; returns when the device has let go of
 * it. ENOENT: no such queue.
 */
#define FF_IOC_QUEUE_DESTROY		_IOW(0xfa, 2, struct ff_queue_destroy)

/*
 * Sleeps until the u64 at address has reached value (as a signed
 * difference) or the queue halts. It wakes at once if the command has
 * DESC_IRQ, else after at most twice the time, or a tenth of a second.
 * ETIME: the deadline came first; EIO: the queue is halted, or was lost
 * with the device in a reset or suspend, after which a new one can be
 * created; ENOENT: no such queue; ENODEV: the driver is unbound; EFAULT:
 * address cannot be read.
 */
#define FF_IOC_WAIT			_IOW(0xfa, 3, struct ff_wait)

/*
 * Makes a range present in the mirror ahead of use. EFAULT: part of it
 * cannot be had.
 */
#define FF_IOC_PREFETCH			_IOW(0xfa, 4, struct ff_prefetch)

/* ff_prefetch.flags: for writing. */
#define FF_PREFETCH_WRITE		(1U << 0)

/*
 * Says of each page of a range how the CPU maps it, and faults nothing
 * in.
 */
#define FF_IOC_SNAPSHOT			_IOW(0xfa, 6, struct ff_snapshot)

/* Page of a snapshot: can be read. */
#define FF_SNAPSHOT_READ		(1U << 0)

/* Page of a snapshot: can be written. */
#define FF_SNAPSHOT_WRITE		(1U << 1)

/*
 * Page of a snapshot: the zero page of 4 KiB. That of 2 MiB, which a
 * read of a huge hole maps, looks like any other page that can be read:
 * the kernel does not tell modules which it is.
 */
#define FF_SNAPSHOT_ZERO		(1U << 2)

/* Page of a snapshot: in the device's own memory. */
#define FF_SNAPSHOT_DEVICE		(1U << 3)

/*
 * Page of a snapshot: not for a device: nothing is mapped, or it may not
 * be read, or it is not ordinary memory (then the CPU may still reach
 * it). A guard page, or one that has gone bad, is as if not there.
 */
#define FF_SNAPSHOT_ERROR		(1U << 4)

/* Page of a snapshot: part of a 2 MiB entry. */
#define FF_SNAPSHOT_2M			(1U << 5)

/* Page of a snapshot: part of a 1 GiB entry. */
#define FF_SNAPSHOT_1G			(1U << 6)

/* Page of a snapshot: the device's page table has it, too. */
#define FF_SNAPSHOT_MIRRORED		(1U << 7)

/*
 * Tells what the device will do with a range. Nothing fails for what
 * cannot be had.
 */
#define FF_IOC_ADVISE			_IOW(0xfa, 7, struct ff_advise)

/*
 * Advice: will read it; what can be had without asking a userfaultfd
 * handler is made present.
 */
#define FF_ADVISE_WILL_READ		1

/* Advice: will write it; likewise. */
#define FF_ADVISE_WILL_WRITE		2

/*
 * Advice: does not need it; it is taken out of the mirror, and contents
 * stay as they are.
 */
#define FF_ADVISE_DONT_NEED		3

/*
 * Advice: is to be in the device's own memory when the device uses it: a
 * fault of the device moves what is within the same 2 MiB, as far as it
 * can be moved. It is said of addresses, whatever is mapped there, until
 * something else is said of them or the file is closed. EOPNOTSUPP: the
 * device has no memory.
 */
#define FF_ADVISE_PREFER_DEVICE		4

/*
 * Advice: stays where it is, whatever the driver would do with what
 * nobody advises on.
 */
#define FF_ADVISE_PREFER_NOTHING	5

/*
 * Advice: is to be in the device's own memory once the device has
 * accessed it often, as its access counters tell: what they tell of is
 * moved, or the huge page that it is in. EOPNOTSUPP: the device has no
 * memory, or no access counters.
 */
#define FF_ADVISE_PREFER_OFTEN		6

/*
 * Advice: as FF_ADVISE_PREFER_DEVICE, but what the device only reads is
 * left in place.
 */
#define FF_ADVISE_PREFER_WRITTEN	7

/*
 * Pins a buffer and gives it a device address of its own, apart from the
 * mirror: the device reaches the pages that are there now, whatever
 * becomes of the mapping, until they are unregistered or the file is
 * closed. EFAULT: part of it cannot be had; ENOMEM: more than
 * RLIMIT_MEMLOCK, which binds who lacks CAP_IPC_LOCK; ENOSPC: no address
 * is free; EOPNOTSUPP: with 5-level paging processes leave no address
 * free.
 */
#define FF_IOC_REGISTER			_IOWR(0xfa, 8, struct ff_register)

/* ff_register.flags: for writing too. */
#define FF_REGISTER_WRITE		(1U << 0)

/*
 * Ends a registration; returns when the device has let go of the pages.
 * ENOENT: no such buffer.
 */
#define FF_IOC_UNREGISTER		_IOW(0xfa, 9, struct ff_unregister)

/*
 * Moves the pages of a range to the device's own memory, or back. What
 * cannot be moved stays where it is and can be used as before.
 * EOPNOTSUPP: the device has no memory, or nothing of a mapping in the
 * range can be moved, as of huge or device pages; EFAULT: nothing is
 * mapped at an address of it, or it may not be read; EIO: the device
 * does not copy. What came before that has been moved, and is not told.
 */
#define FF_IOC_MIGRATE			_IOWR(0xfa, 10, struct ff_migrate)

/* ff_migrate.target: memory of the device's own. */
#define FF_MIGRATE_DEVICE		1

/* ff_migrate.target: memory of the system. */
#define FF_MIGRATE_SYSTEM		2

/**
 * struct ff_info - What there is.
 * @version: UAPI_VERSION.
 * @pasid: PASID of this context.
 * @queues: User-mode queues of the device.
 * @engines: Engines of the device.
 * @lookahead: Most pages one fault group asks for.
 * @reserved: Zero.
 * @vram: Bytes of memory of the device's own.
 */
struct ff_info {
	__u32 version;
	__u32 pasid;
	__u32 queues;
	__u32 engines;
	__u32 lookahead;
	__u32 reserved;
	__u64 vram;
};

_Static_assert(sizeof(struct ff_info) == 32, "size");

/**
 * struct ff_queue_create - A queue to be.
 * @ring: In: virtual address of the ring header, 128-byte aligned.
 * @entries: In: entries, a power of two.
 * @flags: In: zero.
 * @queue: Out: number of the queue.
 * @reserved: Zero.
 * @doorbell: Out: offset to mmap for the doorbell page.
 */
struct ff_queue_create {
	__u64 ring;
	__u32 entries;
	__u32 flags;
	__u32 queue;
	__u32 reserved;
	__u64 doorbell;
};

_Static_assert(sizeof(struct ff_queue_create) == 32, "size");

/**
 * struct ff_queue_destroy - A queue no more.
 * @queue: Number of the queue.
 * @flags: Zero.
 */
struct ff_queue_destroy {
	__u32 queue;
	__u32 flags;
};

_Static_assert(sizeof(struct ff_queue_destroy) == 8, "size");

/**
 * struct ff_wait - What to wait for.
 * @queue: Queue that will complete it.
 * @flags: Zero.
 * @address: Address of the fence, 8-byte aligned.
 * @value: Value to reach.
 * @deadline: CLOCK_MONOTONIC nanoseconds at which to give up, or 0 for
 *   never.
 */
struct ff_wait {
	__u32 queue;
	__u32 flags;
	__u64 address;
	__u64 value;
	__u64 deadline;
};

_Static_assert(sizeof(struct ff_wait) == 32, "size");

/**
 * struct ff_prefetch - What to make present.
 * @address: Virtual address.
 * @length: Bytes.
 * @flags: PREFETCH bits.
 * @reserved: Zero.
 */
struct ff_prefetch {
	__u64 address;
	__u64 length;
	__u32 flags;
	__u32 reserved;
};

_Static_assert(sizeof(struct ff_prefetch) == 24, "size");

/**
 * struct ff_snapshot - What to look at.
 * @address: Virtual address of the first page.
 * @length: Bytes, whole pages.
 * @pages: Address of a byte for each page, which becomes its SNAPSHOT
 *   bits, or 0: not there.
 * @reserved: Zero.
 */
struct ff_snapshot {
	__u64 address;
	__u64 length;
	__u64 pages;
	__u64 reserved;
};

_Static_assert(sizeof(struct ff_snapshot) == 32, "size");

/**
 * struct ff_advise - What to expect.
 * @address: Virtual address of the first page.
 * @length: Bytes, whole pages.
 * @advice: ADVISE value.
 * @reserved: Zero.
 */
struct ff_advise {
	__u64 address;
	__u64 length;
	__u32 advice;
	__u32 reserved;
};

_Static_assert(sizeof(struct ff_advise) == 24, "size");

/**
 * struct ff_register - What to pin.
 * @address: In: virtual address.
 * @length: In: bytes, not 0.
 * @flags: In: REGISTER bits.
 * @reserved: Zero.
 * @device_address: Out: what descriptors name in place of address.
 */
struct ff_register {
	__u64 address;
	__u64 length;
	__u32 flags;
	__u32 reserved;
	__u64 device_address;
};

_Static_assert(sizeof(struct ff_register) == 32, "size");

/**
 * struct ff_migrate - What to move.
 * @address: In: virtual address of the first page.
 * @length: In: bytes, whole pages.
 * @target: In: MIGRATE value.
 * @reserved: Zero.
 * @moved: Out: pages that have been moved.
 */
struct ff_migrate {
	__u64 address;
	__u64 length;
	__u32 target;
	__u32 reserved;
	__u64 moved;
};

_Static_assert(sizeof(struct ff_migrate) == 32, "size");

/**
 * struct ff_unregister - What to unpin.
 * @device_address: As registering gave it.
 * @reserved: Zero.
 */
struct ff_unregister {
	__u64 device_address;
	__u64 reserved;
};

_Static_assert(sizeof(struct ff_unregister) == 16, "size");

#endif /* _UAPI_FARFAULT_H */
