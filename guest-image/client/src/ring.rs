// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The memory of a queue: ring header, descriptors, and a completion record for
//! each slot, in one mapping that program and device share word by word.

use crate::sys::Mapping;
use farfault_abi::descriptor::{Completion, Descriptor};
use farfault_abi::ring::{RING_ENTRIES_OFFSET, RING_MAX_ENTRIES, RING_MIN_ENTRIES, RingHeader};
use nix::Result;
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering};

const HEADER: usize = RING_ENTRIES_OFFSET as usize;
const WORD: usize = size_of::<u64>();
const DESCRIPTOR_WORDS: usize = Descriptor::SIZE / WORD;
const RECORD_WORDS: usize = Completion::SIZE / WORD;
const TAIL: usize = offset_of!(RingHeader, tail) / size_of::<u32>();
const HEAD: usize = offset_of!(RingHeader, head) / size_of::<u32>();
const HALTED: usize = offset_of!(RingHeader, halted) / size_of::<u32>();
const FENCE: usize = offset_of!(Completion, fence) / WORD;

/// Ring and completion records of one queue.
pub struct RingMemory {
    memory: Mapping,
    entries: u32,
}

impl RingMemory {
    /// Whether the device can have a ring of that many entries.
    pub fn is_possible(entries: u32) -> bool {
        entries.is_power_of_two() && (RING_MIN_ENTRIES..=RING_MAX_ENTRIES).contains(&entries)
    }

    /// Fresh memory for a ring of `entries`, which must be
    /// [possible](Self::is_possible); its indices start at `first`.
    ///
    /// # Panics
    /// For a number of entries that is not possible.
    pub fn new(entries: u32, first: u32) -> Result<Self> {
        assert!(Self::is_possible(entries), "{entries} entries");
        let slot = Descriptor::SIZE + Completion::SIZE;
        let memory = Mapping::anonymous(HEADER + entries as usize * slot)?;
        let ring = Self { memory, entries };
        ring.header()[HEAD].store(first, Ordering::Relaxed);
        ring.set_tail(first);
        Ok(ring)
    }

    /// Virtual address of the ring header.
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Slots of the ring.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The index that the device will read next.
    pub fn head(&self) -> u32 {
        self.header()[HEAD].load(Ordering::Acquire)
    }

    /// Whether the device has halted the queue.
    pub fn is_halted(&self) -> bool {
        self.header()[HALTED].load(Ordering::Acquire) != 0
    }

    /// Hands all entries before index `tail` to the device.
    pub fn set_tail(&self, tail: u32) {
        self.header()[TAIL].store(tail, Ordering::Release);
    }

    /// Writes the descriptor that belongs to `index`; the device sees it with the next tail.
    pub fn write(&self, index: u32, descriptor: &Descriptor) {
        let slot = HEADER + self.slot(index) * Descriptor::SIZE;
        let words = self.memory.words64(slot, DESCRIPTOR_WORDS);
        for (word, bytes) in words.iter().zip(descriptor.to_bytes().chunks_exact(WORD)) {
            word.store(bytes.try_into().map_or(0, u64::from_le_bytes), Ordering::Relaxed);
        }
    }

    /// Virtual address of the completion record that belongs to `index`. Its
    /// first word is the fence.
    pub fn record_address(&self, index: u32) -> u64 {
        self.memory.address() + self.record_offset(index) as u64
    }

    /// The completion record of `index`, if its fence is `fence`.
    pub fn record(&self, index: u32, fence: u64) -> Option<Completion> {
        let words = self.memory.words64(self.record_offset(index), RECORD_WORDS);
        // The device stores the fence last, so what is loaded after it is whole.
        if words[FENCE].load(Ordering::Acquire) != fence {
            return None;
        }
        let mut bytes = [0; Completion::SIZE];
        for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(WORD)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        Some(Completion::from_bytes(&bytes))
    }

    fn header(&self) -> &[AtomicU32] {
        self.memory.words32(0, HEADER / size_of::<u32>())
    }

    fn slot(&self, index: u32) -> usize {
        (index & (self.entries - 1)) as usize
    }

    fn record_offset(&self, index: u32) -> usize {
        let records = HEADER + self.entries as usize * Descriptor::SIZE;
        records + self.slot(index) * Completion::SIZE
    }
}
