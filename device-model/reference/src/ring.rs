// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The driver's and the programs' side of rings.

use crate::machine::FakeMachine;
use farfault_abi::ring::{RING_ENTRIES_OFFSET, RingHeader};
use std::mem::offset_of;

/// Where a ring is; heads and tails are always read from its header.
#[derive(Clone, Copy, Debug)]
pub struct RingPlace {
    /// Address of the header.
    pub base: u64,
    /// Entries.
    pub entries: u32,
    /// Bytes of an entry.
    pub entry_size: usize,
}

impl RingPlace {
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

    /// Adds an entry, for which there must be room; `physical` says where the ring's addresses lead.
    pub fn push(&self, machine: &FakeMachine, physical: impl Fn(u64) -> u64, entry: &[u8]) {
        let tail_word = physical(self.tail());
        let (head, tail) = (machine.load32(physical(self.head())), machine.load32(tail_word));
        assert!(tail.wrapping_sub(head) < self.entries, "the ring is full");
        machine.write(physical(self.entry(tail)), entry);
        machine.store32(tail_word, tail.wrapping_add(1));
    }

    /// Takes the next entry of a ring in physical memory, if there is one.
    pub fn pop<const N: usize>(&self, machine: &FakeMachine) -> Option<[u8; N]> {
        let (head, tail) = (machine.load32(self.head()), machine.load32(self.tail()));
        if tail == head {
            return None;
        }
        let mut entry = [0; N];
        machine.read(self.entry(head), &mut entry);
        machine.store32(self.head(), head.wrapping_add(1));
        Some(entry)
    }
}
