// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A process's memory: its own view of it, and the page table that the device
//! sees, which holds as much of it as faults or the test have put there.

use crate::machine::{FakeMachine, Frames, PAGE};
use farfault_abi::pte::{PTE_ADDRESS, PTE_LEAF, PTE_READ, PTE_VALID, PTE_WRITE};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of a large leaf.
pub const LARGE: u64 = 2 << 20;
/// Bytes of a huge leaf.
pub const HUGE: u64 = 1 << 30;

/// A frame that backs some of the process's memory.
#[derive(Clone, Copy, Debug)]
struct Backing {
    frame: u64,
    size: u64,
    writable: bool,
}

/// A process.
pub struct AddressSpace {
    /// Where its top-level table is.
    pub root: u64,
    backing: BTreeMap<u64, Backing>,
}

impl AddressSpace {
    /// A process without memory.
    pub fn new(machine: &FakeMachine, frames: &mut Frames) -> Self {
        Self { root: frames.take_zeroed(machine), backing: BTreeMap::new() }
    }

    /// Gives the process zeroed memory that the device does not know of yet, in leaves of `size`.
    pub fn allocate(
        &mut self,
        machine: &FakeMachine,
        frames: &mut Frames,
        va: u64,
        bytes: u64,
        size: u64,
    ) {
        for va in (va & !(size - 1)..va + bytes).step_by(size as usize) {
            self.backing.entry(va).or_insert_with(|| {
                let frame = frames.take(size);
                if size == PAGE {
                    machine.write(frame, &[0; PAGE as usize]);
                }
                Backing { frame, size, writable: true }
            });
        }
    }

    /// Makes the process's memory at `va` read only or not.
    pub fn protect(&mut self, va: u64, writable: bool) {
        let (at, backing) = self.find(va).expect("memory at the address");
        self.backing.insert(at, Backing { writable, ..backing });
    }

    /// Moves a 4 KiB page to another frame and poisons the old; the device
    /// must have been told before.
    pub fn migrate(&mut self, machine: &FakeMachine, frames: &mut Frames, va: u64) {
        let (at, backing) = self.find(va).expect("memory at the address");
        assert_eq!(backing.size, PAGE);
        let mut page = [0; PAGE as usize];
        machine.read(backing.frame, &mut page);
        let frame = frames.take(PAGE);
        machine.write(frame, &page);
        machine.write(backing.frame, &[0xdd; PAGE as usize]);
        frames.give(backing.frame);
        self.backing.insert(at, Backing { frame, ..backing });
    }

    fn find(&self, va: u64) -> Option<(u64, Backing)> {
        let (at, backing) = self.backing.range(..=va).next_back()?;
        (va - at < backing.size).then_some((*at, *backing))
    }

    /// Addresses of all its 4 KiB pages.
    pub fn pages(&self) -> impl Iterator<Item = u64> {
        let of = |(va, backing): (&u64, &Backing)| (*va..*va + backing.size).step_by(PAGE as usize);
        self.backing.iter().flat_map(of)
    }

    /// Whether there is memory at `va`, for writing if so asked.
    pub fn permits(&self, va: u64, write: bool) -> bool {
        self.find(va).is_some_and(|(_, backing)| backing.writable || !write)
    }

    /// The guest physical address of `va`.
    pub fn physical(&self, va: u64) -> u64 {
        let (at, backing) = self.find(va).expect("memory at the address");
        backing.frame + (va - at)
    }

    /// The parts of `length` bytes at `va` that are each in one page: where they are in
    /// memory, and among the bytes.
    fn parts(&self, va: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
        let end = va + length as u64;
        (va & !(PAGE - 1)..end).step_by(PAGE as usize).map(move |page| {
            let (from, to) = (page.max(va), (page + PAGE).min(end));
            (self.physical(from), (from - va) as usize..(to - va) as usize)
        })
    }

    /// Writes as the process would.
    pub fn write(&self, machine: &FakeMachine, va: u64, bytes: &[u8]) {
        self.parts(va, bytes.len()).for_each(|(at, part)| machine.write(at, &bytes[part]));
    }

    /// Reads as the process would.
    pub fn read(&self, machine: &FakeMachine, va: u64, bytes: &mut [u8]) {
        self.parts(va, bytes.len()).for_each(|(at, part)| machine.read(at, &mut bytes[part]));
    }

    /// Puts the leaf that holds `va` into the device's table, with some bits `more`.
    pub fn map(&self, machine: &FakeMachine, frames: &mut Frames, va: u64, write: bool, more: u64) {
        let bits = PTE_VALID | PTE_LEAF | PTE_READ | more | if write { PTE_WRITE } else { 0 };
        let leaf = |frame| bits | machine.dma(frame);
        self.set(machine, frames, va, leaf);
    }

    /// Takes the leaf that holds `va` out of the device's table; the device is yet to be told.
    pub fn unmap(&self, machine: &FakeMachine, frames: &mut Frames, va: u64) {
        self.set(machine, frames, va, |_| 0);
    }

    /// Sets the entry for the leaf that holds `va` to what `pte` makes of its frame.
    fn set(&self, machine: &FakeMachine, frames: &mut Frames, va: u64, pte: impl Fn(u64) -> u64) {
        let (at, Backing { frame, size, .. }) = self.find(va).expect("memory at the address");
        let level = match size {
            PAGE => 0,
            LARGE => 1,
            _ => 2,
        };
        machine.store(self.entry(machine, frames, at, level), pte(frame));
    }

    /// Address of the entry for `va` at `level`, with the tables above it.
    pub fn entry(&self, machine: &FakeMachine, frames: &mut Frames, va: u64, level: u32) -> u64 {
        let mut table = self.root;
        for above in (level + 1..4).rev() {
            let at = slot(table, va, above);
            let mut pte = machine.load(at);
            if pte & PTE_VALID == 0 {
                pte = PTE_VALID | machine.dma(frames.take_zeroed(machine));
                machine.store(at, pte);
            }
            table = machine.physical(pte & PTE_ADDRESS);
        }
        slot(table, va, level)
    }
}

fn slot(table: u64, va: u64, level: u32) -> u64 {
    table + (va >> (12 + 9 * level) & 511) * 8
}
