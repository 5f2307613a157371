// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The driver's and the programs' side of rings.

use farfault_abi::ring::{RING_ENTRIES_OFFSET, RingHeader};
use std::mem::offset_of;

/// How a ring's memory is reached.
pub trait RingMemory {
    /// Reads a u32, before what is read later.
    fn load(&self, address: u64) -> u32;
    /// Writes a u32, after what was written before.
    fn store(&self, address: u64, value: u32);
    /// Reads bytes.
    fn read(&self, address: u64, bytes: &mut [u8]);
    /// Writes bytes.
    fn write(&self, address: u64, bytes: &[u8]);
}

/// Where a ring is; heads and tails are always read from its header.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// Address of the header.
    pub base: u64,
    /// Entries.
    pub entries: u32,
    /// Bytes of an entry.
    pub entry_size: usize,
}

impl Ring {
    /// Bytes of header and entries.
    pub fn bytes(&self) -> u64 {
        u64::from(RING_ENTRIES_OFFSET) + u64::from(self.entries) * self.entry_size as u64
    }

    /// Address of the tail.
    pub fn tail(&self) -> u64 {
        self.base + offset_of!(RingHeader, tail) as u64
    }

    /// Address of the head.
    pub fn head(&self) -> u64 {
        self.base + offset_of!(RingHeader, head) as u64
    }

    /// Address of the count of overflows.
    pub fn overflows(&self) -> u64 {
        self.base + offset_of!(RingHeader, overflows) as u64
    }

    /// Address of the word that says that a queue is halted.
    pub fn halted(&self) -> u64 {
        self.base + offset_of!(RingHeader, halted) as u64
    }

    /// Address of the entry with `index`.
    pub fn entry(&self, index: u32) -> u64 {
        let slot = u64::from(index % self.entries);
        self.base + u64::from(RING_ENTRIES_OFFSET) + slot * self.entry_size as u64
    }

    /// Adds an entry; false if there is no room.
    pub fn push(&self, memory: &impl RingMemory, entry: &[u8]) -> bool {
        let (head, tail) = (memory.load(self.head()), memory.load(self.tail()));
        if tail.wrapping_sub(head) >= self.entries {
            return false;
        }
        memory.write(self.entry(tail), entry);
        memory.store(self.tail(), tail.wrapping_add(1));
        true
    }

    /// Takes the next entry, if there is one.
    pub fn pop(&self, memory: &impl RingMemory) -> Option<Vec<u8>> {
        let (head, tail) = (memory.load(self.head()), memory.load(self.tail()));
        if tail == head {
            return None;
        }
        let mut entry = vec![0; self.entry_size];
        memory.read(self.entry(head), &mut entry);
        memory.store(self.head(), head.wrapping_add(1));
        Some(entry)
    }
}
