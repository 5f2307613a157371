// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ring: one shape for user-mode queues, the command queue and the fault
//! queue.
//!
//! A header of two 64-byte lines, one written by each side, then the entries.
//! Indices run freely and wrap at 2^32; entry i is slot i modulo the number of
//! entries. The ring is empty when tail equals head and full when they are the
//! number of entries apart; a greater distance is wild.

use crate::describe::{HeaderSection, constants, layout};

constants! { CONSTANTS;
    /// Alignment of a ring header, and the offset of entry 0 from it.
    RING_ENTRIES_OFFSET: u32 = 128;
    /// Fewest entries of a ring.
    RING_MIN_ENTRIES: u32 = 2;
    /// Most entries of a ring; the number is a power of two.
    RING_MAX_ENTRIES: u32 = 65536;
}

layout! { STRUCTURES;
    /// The header of a ring.
    RingHeader as "ff_ring_header", 128 bytes {
        /// Next entry that the producer will write; written by the producer only.
        tail: u32,
        /// Fault queue: how often a record had to wait for room; written by the producer only.
        overflows: u32,
        /// Zero.
        reserved0: [u64; 7],
        /// Next entry that the consumer will read; written by the consumer only.
        head: u32,
        /// User-mode queue: 0, or the REASON for which the device has halted it; written by the
        /// consumer only.
        halted: u32,
        /// Zero.
        reserved1: [u64; 7],
    }
}

pub(crate) const SECTION: HeaderSection =
    HeaderSection { title: "Rings", constants: CONSTANTS, structures: STRUCTURES };
