// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rings: where things lie in one, and what heads and tails may be.
//!
//! All three kinds (user-mode queues, command queue, fault queue) come through
//! here, so an index from the guest is judged in one place.

use crate::space::VA_END;
use farfault_abi::ring::{RING_ENTRIES_OFFSET, RING_MAX_ENTRIES, RING_MIN_ENTRIES, RingHeader};
use std::mem::offset_of;

/// Where a ring is and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    base: u64,
    entries: u32,
    entry_size: u64,
}

/// A head and a tail that are further apart than the ring is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wild;

impl Ring {
    /// A ring that is aligned, of a length that may be, and ends below [`VA_END`].
    pub fn new(base: u64, entries: u64, entry_size: usize) -> Option<Self> {
        let shaped = base.is_multiple_of(u64::from(RING_ENTRIES_OFFSET))
            && entries.is_power_of_two()
            && (u64::from(RING_MIN_ENTRIES)..=u64::from(RING_MAX_ENTRIES)).contains(&entries);
        let ring = Self { base, entries: entries as u32, entry_size: entry_size as u64 };
        (shaped && base < VA_END && base + ring.bytes() <= VA_END).then_some(ring)
    }

    /// Bytes of header and entries.
    pub fn bytes(&self) -> u64 {
        u64::from(RING_ENTRIES_OFFSET) + u64::from(self.entries) * self.entry_size
    }

    /// Where the header is.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Where the producer's index is.
    pub fn tail(&self) -> u64 {
        self.base + offset_of!(RingHeader, tail) as u64
    }

    /// Where the consumer's index is.
    pub fn head(&self) -> u64 {
        self.base + offset_of!(RingHeader, head) as u64
    }

    /// Where the count of overflows is.
    pub fn overflows(&self) -> u64 {
        self.base + offset_of!(RingHeader, overflows) as u64
    }

    /// Where a halted queue says so.
    pub fn halted(&self) -> u64 {
        self.base + offset_of!(RingHeader, halted) as u64
    }

    /// Where the entry of `index` is.
    pub fn entry(&self, index: u32) -> u64 {
        let slot = u64::from(index & (self.entries - 1));
        self.base + u64::from(RING_ENTRIES_OFFSET) + slot * self.entry_size
    }

    /// Entries that are waiting.
    pub fn used(&self, head: u32, tail: u32) -> Result<u32, Wild> {
        let used = tail.wrapping_sub(head);
        if used > self.entries { Err(Wild) } else { Ok(used) }
    }

    /// Entries that there is room for.
    pub fn room(&self, head: u32, tail: u32) -> Result<u32, Wild> {
        Ok(self.entries - self.used(head, tail)?)
    }
}
