// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fault queue, by which the device tells the driver.
//!
//! A command that meets missing translations asks for them as one group: the
//! page it cannot do without first, then the pages ahead that it will need,
//! the last record marked. The driver answers the group with one page response.
//! Records of a group stand next to each other. The device interrupts when it
//! writes to a queue that was empty; the driver, after it has moved head, looks at
//! tail once more before it rests.

use crate::describe::{HeaderSection, constants, layout};

constants! { CONSTANTS;
    /// Record: the device needs a page.
    FAULT_PAGE_REQUEST: u32 = 1;
    /// Record: the device halted a queue; no response is expected.
    FAULT_QUEUE_HALTED: u32 = 2;
    /// Record: the [`ACCESS_COUNTER_BYTES`] around address, where the last access was, have had as many as
    /// CMD_COUNT_ACCESSES says; no response is expected. It is lost if there is no room for it.
    FAULT_ACCESSES: u32 = 3;

    /// What an access counter is for, aligned.
    ACCESS_COUNTER_BYTES: u64 = 1 << 16;
    /// What counts as one access, or less: an access counter is of an engine, and is forgotten when it
    /// is needed for other memory.
    ACCESS_BYTES: u64 = 64;

    /// Access: read.
    ACCESS_READ: u32 = 1 << 0;
    /// Access: write.
    ACCESS_WRITE: u32 = 1 << 1;
    /// Access: both in one step, which needs [`PTE_ATOMIC`](crate::pte::PTE_ATOMIC).
    ACCESS_ATOMIC: u32 = 1 << 2;

    /// Flag: the last record of its group.
    FAULT_LAST: u32 = 1 << 0;
    /// Flag: a page ahead, which the command will want but does not wait for. A driver that cannot
    /// supply it leaves it be; should the command get there, it asks again without this flag.
    FAULT_LOOKAHEAD: u32 = 1 << 1;
}

constants! { REASON_CONSTANTS;
    /// No valid entry.
    REASON_NOT_PRESENT: u32 = 1;
    /// An entry without the permission needed.
    REASON_PERMISSION: u32 = 2;
    /// An entry with reserved bits set, a misaligned frame, or a leaf where none may be.
    REASON_MALFORMED: u32 = 3;
    /// An entry that points outside memory.
    REASON_UNREACHABLE: u32 = 4;
    /// No valid context for the PASID.
    REASON_CONTEXT: u32 = 5;
    /// A ring index was wild, or a page response refused the ring.
    REASON_RING: u32 = 6;
    /// A page response refused the completion record, or it is misaligned.
    REASON_COMPLETION: u32 = 7;
}

layout! { STRUCTURES;
    /// An entry of the fault queue.
    Fault as "ff_fault", 32 bytes {
        /// Virtual address of the access; for a page ahead, of the page.
        address: u64,
        /// Address space.
        pasid: u32,
        /// User-mode queue.
        queue: u16,
        /// FAULT kind.
        kind: u8,
        /// ACCESS bits.
        access: u8,
        /// Group of the queue, counted from 1 since it was enabled; 0 when no response is expected.
        group: u32,
        /// FAULT flags.
        flags: u8,
        /// REASON value.
        reason: u8,
        /// Level of the page table at which the walk ended, 3 being the top.
        level: u8,
        /// Zero.
        reserved0: u8,
        /// Pages behind this one that the command will come to next with the same access, as far as
        /// it can tell; 0 if it cannot.
        extent: u32,
        /// Zero.
        reserved1: u32,
    }
}

/// Programs see them, too.
pub(crate) const REASONS: HeaderSection = HeaderSection {
    title: "Why an access was refused, or a queue has halted",
    constants: REASON_CONSTANTS,
    structures: &[],
};

pub(crate) const SECTION: HeaderSection =
    HeaderSection { title: "Fault queue", constants: CONSTANTS, structures: STRUCTURES };
