// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The translation look-aside buffer of one engine.
//!
//! An entry holds what it leads to (the slice of guest memory; loom's models
//! put something smaller there), so that a hit needs no further look-up. Reads
//! and writes have arrays of their own: a tag that matches implies permission.
//! (What may be written but not read is kept in neither and walked each time.)
//! The PASID is part of the tag.
//!
//! A load waits for every step of its look-up, so words are loaded by one look-up
//! among 4 KiB pages, which has larger leaves there too, page by page, as words
//! are loaded from them. All else takes the largest leaf that is known.

use crate::space::{Log, SPACES, VA_END};

/// A tag that matches: bit 63 valid, then the PASID, then the page number.
const VALID: u64 = 1 << 63;
/// Entries of the arrays for 4 KiB, 2 MiB and 1 GiB leaves: 32 bytes each, twice.
const ENTRIES: [usize; 3] = [8192, 1024, 64];
/// Entries of the cache of last-level tables.
const TABLES: usize = 512;
/// Pages beyond which dropping everything is cheaper than looking for each.
const WORTH_LOOKING: u64 = 4096;

/// An address space, as tags and places need it.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Its name.
    pub pasid: u32,
    tag: u64,
    spread: u64,
}

impl Owner {
    /// The address space that `pasid` names.
    pub fn new(pasid: u32) -> Self {
        // Processes like the same addresses; keep them out of each other's way.
        let wide = u64::from(pasid);
        Self { pasid, tag: VALID | wide << 36, spread: wide.wrapping_mul(0x9e5) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry<P> {
    tag: u64,
    payload: P,
}

/// A direct-mapped array of translations of one page size.
#[derive(Debug)]
pub struct Array<P> {
    entries: Vec<Entry<P>>,
    shift: u32,
}

impl<P: Copy> Array<P> {
    fn new(entries: usize, shift: u32, filler: P) -> Self {
        Self { entries: vec![Entry { tag: 0, payload: filler }; entries], shift }
    }

    #[inline]
    fn place(&self, owner: Owner, page: u64) -> (u64, usize) {
        let slot = page.wrapping_add(owner.spread) as usize & (self.entries.len() - 1);
        (owner.tag | page, slot)
    }

    /// What the page of `va` leads to.
    #[inline]
    pub fn lookup(&self, owner: Owner, va: u64) -> Option<&P> {
        // Higher bits would reach into the PASID of the tag.
        if va >= VA_END {
            return None;
        }
        let (tag, slot) = self.place(owner, va >> self.shift);
        self.entries.get(slot).filter(|entry| entry.tag == tag).map(|entry| &entry.payload)
    }

    /// Remembers what the page of `va` leads to.
    pub fn fill(&mut self, owner: Owner, va: u64, payload: P) {
        let (tag, slot) = self.place(owner, va >> self.shift);
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = Entry { tag, payload };
        }
    }

    fn forget(&mut self, owner: Owner, start: u64, last: u64) {
        for page in start >> self.shift..=last >> self.shift {
            let (tag, slot) = self.place(owner, page);
            if let Some(entry) = self.entries.get_mut(slot).filter(|entry| entry.tag == tag) {
                entry.tag = 0;
            }
        }
    }

    fn flush(&mut self) {
        for entry in &mut self.entries {
            entry.tag = 0;
        }
    }
}

/// Arrays for 4 KiB, 2 MiB and 1 GiB leaves.
type Sizes<P> = [Array<P>; 3];

/// The translations that one engine remembers.
#[derive(Debug)]
pub struct Tlb<P> {
    read: Sizes<P>,
    write: Sizes<P>,
    /// Last-level tables by the 2 MiB they map: a miss is then a single load.
    pub tables: Array<P>,
    /// For each space the invalidations that have been applied.
    seen: [u64; SPACES],
    /// The IOMMU's mappings that everything here was found through.
    mappings: u64,
}

impl<P: Copy> Tlb<P> {
    /// An empty one; `filler` stands in entries that hold nothing.
    pub fn new(filler: P) -> Self {
        Self::with_entries(ENTRIES, TABLES, filler)
    }

    /// An empty one of chosen size, each number a power of two.
    pub fn with_entries(sizes: [usize; 3], tables: usize, filler: P) -> Self {
        let arrays = || [0, 1, 2].map(|level| Array::new(sizes[level], level_shift(level), filler));
        Self {
            read: arrays(),
            write: arrays(),
            tables: Array::new(tables, level_shift(1), filler),
            seen: [0; SPACES],
            mappings: 0,
        }
    }

    /// Drops everything if the IOMMU's mappings are others than the last time
    /// (`gate.rs`): where an entry leads was found through them.
    #[inline]
    pub fn follow(&mut self, mappings: u64) {
        if self.mappings != mappings {
            self.mappings = mappings;
            self.flush();
        }
    }

    /// Drops what has been invalidated since the last time; like [`Tlb::follow`]
    /// it comes before all else in a section.
    pub fn catch_up(&mut self, space: usize, log: &Log) {
        let Some(seen) = self.seen.get_mut(space) else { return };
        let before = std::mem::replace(seen, log.generation());
        if before == log.generation() {
            return;
        }
        let Some(ranges) = log.since(before) else { return self.flush() };
        let pages =
            ranges.clone().fold(0u64, |sum, r| sum.saturating_add((r.last - r.start) >> 12));
        if pages > WORTH_LOOKING {
            return self.flush();
        }
        for range in ranges {
            let owner = Owner::new(range.pasid);
            let arrays = self.read.iter_mut().chain(&mut self.write).chain([&mut self.tables]);
            arrays.for_each(|array| array.forget(owner, range.start, range.last));
        }
    }

    /// What `va` leads to, for reading or for reading and writing.
    #[inline]
    pub fn lookup(&self, owner: Owner, va: u64, write: bool) -> Option<&P> {
        let [small, large, huge] = if write { &self.write } else { &self.read };
        huge.lookup(owner, va)
            .or_else(|| large.lookup(owner, va))
            .or_else(|| small.lookup(owner, va))
    }

    /// The page for reading that `va` leads to, if it is known by itself.
    #[inline]
    pub fn lookup_page(&self, owner: Owner, va: u64) -> Option<&P> {
        let [small, ..] = &self.read;
        small.lookup(owner, va)
    }

    /// Remembers a leaf of `level` that may be read, and if `write` also written.
    pub fn fill(&mut self, owner: Owner, va: u64, level: usize, write: bool, payload: P) {
        let sizes = if write { &mut self.write } else { &mut self.read };
        if let Some(array) = sizes.get_mut(level) {
            array.fill(owner, va, payload);
        }
    }

    fn flush(&mut self) {
        let arrays = self.read.iter_mut().chain(&mut self.write).chain([&mut self.tables]);
        arrays.for_each(Array::flush);
    }
}

/// Address bits below a leaf or entry of `level`.
pub fn level_shift(level: usize) -> u32 {
    12 + 9 * level as u32
}

#[cfg(all(test, not(loom)))]
#[path = "tlb_test.rs"]
mod tests;
