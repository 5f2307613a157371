// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The driver's ioctls.
//!
//! A descriptor of `/dev/farfault0` is a context: one PASID, one mirror of the
//! address space that opened it. Calls from another address space fail with
//! EPERM. A doorbell page is mapped at the offset that creating the queue gives.

use crate::describe::{HeaderSection, constants, layout};

/// `_IOC(direction, 0xfa, number, size)` of `asm-generic/ioctl.h`; direction 1 writes to the kernel, 2 reads.
const fn ioctl(direction: u32, number: u32, size: usize) -> u32 {
    direction << 30 | (size as u32) << 16 | 0xfa << 8 | number
}

constants! { CONSTANTS;
    /// Version of this interface, in [`Info::version`].
    UAPI_VERSION: u32 = 1;
    /// Fills in an [`Info`]. (The first ioctl of a file fails with EDQUOT if the user has too many contexts and
    /// lacks CAP_SYS_RESOURCE, with ENOSPC if no PASID is free.)
    IOC_INFO: u32 = ioctl(2, 0, 32);
    /// Binds a ring in the caller's memory to a user-mode queue. EMFILE: the context has too many; EDQUOT:
    /// its user has, and lacks CAP_SYS_RESOURCE; ENOSPC: no queue is free; EIO: the device is lost.
    IOC_QUEUE_CREATE: u32 = ioctl(3, 1, 32);
    /// Takes a queue from the device; returns when the device has let go of it. ENOENT: no such queue.
    IOC_QUEUE_DESTROY: u32 = ioctl(1, 2, 8);
    /// Sleeps until the u64 at address has reached value (as a signed difference) or the queue halts. It
    /// wakes at once if the command has DESC_IRQ, else after at most twice the time, or a tenth of a second.
    /// ETIME: the deadline came first; EIO: the queue is halted, or was lost with the device in a reset or
    /// suspend, after which a new one can be created; ENOENT: no such queue; ENODEV: the driver is unbound;
    /// EFAULT: address cannot be read.
    IOC_WAIT: u32 = ioctl(1, 3, 32);
    /// Makes a range present in the mirror ahead of use. EFAULT: part of it cannot be had.
    IOC_PREFETCH: u32 = ioctl(1, 4, 24);
    /// [`Prefetch::flags`]: for writing.
    PREFETCH_WRITE: u32 = 1 << 0;
    /// Says of each page of a range how the CPU maps it, and faults nothing in.
    IOC_SNAPSHOT: u32 = ioctl(1, 6, 32);
    /// Page of a snapshot: can be read.
    SNAPSHOT_READ: u32 = 1 << 0;
    /// Page of a snapshot: can be written.
    SNAPSHOT_WRITE: u32 = 1 << 1;
    /// Page of a snapshot: the zero page of 4 KiB. That of 2 MiB, which a read of a huge hole maps, looks
    /// like any other page that can be read: the kernel does not tell modules which it is.
    SNAPSHOT_ZERO: u32 = 1 << 2;
    /// Page of a snapshot: in the device's own memory.
    SNAPSHOT_DEVICE: u32 = 1 << 3;
    /// Page of a snapshot: not for a device: nothing is mapped, or it may not be read, or it is not ordinary
    /// memory (then the CPU may still reach it). A guard page, or one that has gone bad, is as if not there.
    SNAPSHOT_ERROR: u32 = 1 << 4;
    /// Page of a snapshot: part of a 2 MiB entry.
    SNAPSHOT_2M: u32 = 1 << 5;
    /// Page of a snapshot: part of a 1 GiB entry.
    SNAPSHOT_1G: u32 = 1 << 6;
    /// Page of a snapshot: the device's page table has it, too.
    SNAPSHOT_MIRRORED: u32 = 1 << 7;
    /// Tells what the device will do with a range. Nothing fails for what cannot be had.
    IOC_ADVISE: u32 = ioctl(1, 7, 24);
    /// Advice: will read it; what can be had without asking a userfaultfd handler is made present.
    ADVISE_WILL_READ: u32 = 1;
    /// Advice: will write it; likewise.
    ADVISE_WILL_WRITE: u32 = 2;
    /// Advice: does not need it; it is taken out of the mirror, and contents stay as they are.
    ADVISE_DONT_NEED: u32 = 3;
    /// Advice: is to be in the device's own memory when the device uses it: a fault of the device moves
    /// what is within the same 2 MiB, as far as it can be moved. It is said of addresses, whatever is
    /// mapped there, until something else is said of them or the file is closed. EOPNOTSUPP: the device
    /// has no memory.
    ADVISE_PREFER_DEVICE: u32 = 4;
    /// Advice: stays where it is, whatever the driver would do with what nobody advises on.
    ADVISE_PREFER_NOTHING: u32 = 5;
    /// Advice: is to be in the device's own memory once the device has accessed it often, as its access
    /// counters tell: what they tell of is moved, or the huge page that it is in. EOPNOTSUPP: the device
    /// has no memory, or no access counters.
    ADVISE_PREFER_OFTEN: u32 = 6;
    /// Advice: as [`ADVISE_PREFER_DEVICE`], but what the device only reads is left in place.
    ADVISE_PREFER_WRITTEN: u32 = 7;
    /// Pins a buffer and gives it a device address of its own, apart from the mirror: the device
    /// reaches the pages that are there now, whatever becomes of the mapping, until they are
    /// unregistered or the file is closed. EFAULT: part of it cannot be had; ENOMEM: more than
    /// RLIMIT_MEMLOCK, which binds who lacks CAP_IPC_LOCK; ENOSPC: no address is free;
    /// EOPNOTSUPP: with 5-level paging processes leave no address free.
    IOC_REGISTER: u32 = ioctl(3, 8, 32);
    /// [`Register::flags`]: for writing too.
    REGISTER_WRITE: u32 = 1 << 0;
    /// Ends a registration; returns when the device has let go of the pages. ENOENT: no such buffer.
    IOC_UNREGISTER: u32 = ioctl(1, 9, 16);
    /// Moves the pages of a range to the device's own memory, or back. What cannot be moved stays where
    /// it is and can be used as before. EOPNOTSUPP: the device has no memory, or nothing of a mapping
    /// in the range can be moved, as of huge or device pages; EFAULT: nothing is mapped at an address
    /// of it, or it may not be read; EIO: the device does not copy. What came before that has been
    /// moved, and is not told.
    IOC_MIGRATE: u32 = ioctl(3, 10, 32);
    /// [`Migrate::target`]: memory of the device's own.
    MIGRATE_DEVICE: u32 = 1;
    /// [`Migrate::target`]: memory of the system.
    MIGRATE_SYSTEM: u32 = 2;
}

layout! { STRUCTURES;
    /// What there is.
    Info as "ff_info", 32 bytes {
        /// UAPI_VERSION.
        version: u32,
        /// PASID of this context.
        pasid: u32,
        /// User-mode queues of the device.
        queues: u32,
        /// Engines of the device.
        engines: u32,
        /// Most pages one fault group asks for.
        lookahead: u32,
        /// Zero.
        reserved: u32,
        /// Bytes of memory of the device's own.
        vram: u64,
    }

    /// A queue to be.
    QueueCreate as "ff_queue_create", 32 bytes {
        /// In: virtual address of the ring header, 128-byte aligned.
        ring: u64,
        /// In: entries, a power of two.
        entries: u32,
        /// In: zero.
        flags: u32,
        /// Out: number of the queue.
        queue: u32,
        /// Zero.
        reserved: u32,
        /// Out: offset to mmap for the doorbell page.
        doorbell: u64,
    }

    /// A queue no more.
    QueueDestroy as "ff_queue_destroy", 8 bytes {
        /// Number of the queue.
        queue: u32,
        /// Zero.
        flags: u32,
    }

    /// What to wait for.
    Wait as "ff_wait", 32 bytes {
        /// Queue that will complete it.
        queue: u32,
        /// Zero.
        flags: u32,
        /// Address of the fence, 8-byte aligned.
        address: u64,
        /// Value to reach.
        value: u64,
        /// CLOCK_MONOTONIC nanoseconds at which to give up, or 0 for never.
        deadline: u64,
    }

    /// What to make present.
    Prefetch as "ff_prefetch", 24 bytes {
        /// Virtual address.
        address: u64,
        /// Bytes.
        length: u64,
        /// PREFETCH bits.
        flags: u32,
        /// Zero.
        reserved: u32,
    }

    /// What to look at.
    Snapshot as "ff_snapshot", 32 bytes {
        /// Virtual address of the first page.
        address: u64,
        /// Bytes, whole pages.
        length: u64,
        /// Address of a byte for each page, which becomes its SNAPSHOT bits, or 0: not there.
        pages: u64,
        /// Zero.
        reserved: u64,
    }

    /// What to expect.
    Advise as "ff_advise", 24 bytes {
        /// Virtual address of the first page.
        address: u64,
        /// Bytes, whole pages.
        length: u64,
        /// ADVISE value.
        advice: u32,
        /// Zero.
        reserved: u32,
    }

    /// What to pin.
    Register as "ff_register", 32 bytes {
        /// In: virtual address.
        address: u64,
        /// In: bytes, not 0.
        length: u64,
        /// In: REGISTER bits.
        flags: u32,
        /// Zero.
        reserved: u32,
        /// Out: what descriptors name in place of address.
        device_address: u64,
    }

    /// What to move.
    Migrate as "ff_migrate", 32 bytes {
        /// In: virtual address of the first page.
        address: u64,
        /// In: bytes, whole pages.
        length: u64,
        /// In: MIGRATE value.
        target: u32,
        /// Zero.
        reserved: u32,
        /// Out: pages that have been moved.
        moved: u64,
    }

    /// What to unpin.
    Unregister as "ff_unregister", 16 bytes {
        /// As registering gave it.
        device_address: u64,
        /// Zero.
        reserved: u64,
    }
}

pub(crate) const SECTION: HeaderSection =
    HeaderSection { title: "ioctls", constants: CONSTANTS, structures: STRUCTURES };
