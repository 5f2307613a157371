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

use crate::dma::Stretch;
use crate::log::Log;
use crate::ram::{self, Place, Slice};
use crate::space::{Range, SPACES, VA_END};

/// A tag that matches: bit 63 valid, then the PASID, then the page number.
const VALID: u64 = 1 << 63;
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

/// What entries hold, and where that leads.
pub trait Leads: Copy {
    /// The memory.
    fn place(&self) -> Place;
}

impl Leads for Slice<'_> {
    fn place(&self) -> Place {
        ram::place(self)
    }
}

/// A direct-mapped array of translations of one page size.
///
/// It also counts how many entries lead to a piece of memory, so that memory to which none
/// does costs a look and no search. Pieces whose numbers are equal modulo the number of
/// entries are counted together.
#[derive(Debug)]
pub struct Array<P> {
    entries: Vec<Entry<P>>,
    leading: Vec<u16>,
    shift: u32,
    /// Of what an entry leads to.
    piece_shift: u32,
}

impl<P: Leads> Array<P> {
    fn new(entries: usize, shift: u32, piece_shift: u32, filler: P) -> Self {
        let leading = vec![0; entries];
        let entries = vec![Entry { tag: 0, payload: filler }; entries];
        Self { entries, leading, shift, piece_shift }
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
        self.drop_entry(slot);
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = Entry { tag, payload };
            self.count(payload, 1);
        }
    }

    fn drop_entry(&mut self, slot: usize) {
        let Some(entry) = self.entries.get_mut(slot).filter(|entry| entry.tag != 0) else { return };
        entry.tag = 0;
        let payload = entry.payload;
        self.count(payload, -1);
    }

    fn count(&mut self, payload: P, change: i16) {
        let piece = self.piece(payload.place().start);
        if let Some(count) = self.leading.get_mut(piece) {
            *count = count.wrapping_add_signed(change);
        }
    }

    /// Where the piece that begins at `start` is counted.
    fn piece(&self, start: u64) -> usize {
        (start >> self.piece_shift) as usize & (self.leading.len() - 1)
    }

    /// Drops what leads to a place.
    fn forget_place(&mut self, place: Place) {
        let Some(last) = place.bytes.checked_sub(1).map(|more| place.start + more) else { return };
        // A piece that reaches into it may begin before it.
        let first = place.start.saturating_sub((1 << self.piece_shift) - 1);
        let (first, end) = (first >> self.piece_shift, (last >> self.piece_shift) + 1);
        let counted = |piece: u64| {
            self.leading.get(self.piece(piece << self.piece_shift)).is_some_and(|count| *count != 0)
        };
        // Going through the entries costs no more than asking for as many pieces.
        if end - first <= self.entries.len() as u64 && !(first..end).any(counted) {
            return;
        }
        for slot in 0..self.entries.len() {
            let leads = |entry: &Entry<P>| {
                let Place { start, bytes } = entry.payload.place();
                entry.tag != 0 && start <= last && place.start < start + bytes
            };
            if self.entries.get(slot).is_some_and(leads) {
                self.drop_entry(slot);
            }
        }
    }

    fn forget(&mut self, owner: Owner, start: u64, last: u64) {
        for page in start >> self.shift..=last >> self.shift {
            let (tag, slot) = self.place(owner, page);
            if self.entries.get(slot).is_some_and(|entry| entry.tag == tag) {
                self.drop_entry(slot);
            }
        }
    }

    fn flush(&mut self) {
        for entry in &mut self.entries {
            entry.tag = 0;
        }
        self.leading.fill(0);
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
    /// How much has been unmapped for DMA that has been dropped here.
    unmapped: u64,
}

impl<P: Leads> Tlb<P> {
    /// An empty one, with so many entries of 32 bytes for 4 KiB pages, twice; `filler` stands in
    /// entries that hold nothing.
    pub fn new(entries: usize, filler: P) -> Self {
        Self::with_entries([entries, entries / 8, entries / 128], entries / 16, filler)
    }

    /// An empty one with chosen sizes, each a power of two: of the arrays for 4 KiB, 2 MiB and
    /// 1 GiB leaves, and of the cache of last-level tables.
    pub fn with_entries(sizes: [usize; 3], tables: usize, filler: P) -> Self {
        let arrays = || {
            [0, 1, 2].map(|level| {
                Array::new(sizes[level], level_shift(level), level_shift(level), filler)
            })
        };
        Self {
            read: arrays(),
            write: arrays(),
            tables: Array::new(tables, level_shift(1), level_shift(0), filler),
            seen: [0; SPACES],
            unmapped: 0,
        }
    }

    /// Drops what leads to memory that has been unmapped for DMA since the last time
    /// (`gate.rs`), each stretch of which is at `places`.
    #[inline]
    pub fn follow<I: Iterator<Item = Place>>(
        &mut self,
        unmapped: &Log<Stretch>,
        places: impl Fn(&Stretch) -> I,
    ) {
        if self.unmapped != unmapped.generation() {
            self.forget_unmapped(unmapped, places);
        }
    }

    fn forget_unmapped<I: Iterator<Item = Place>>(
        &mut self,
        unmapped: &Log<Stretch>,
        places: impl Fn(&Stretch) -> I,
    ) {
        let before = std::mem::replace(&mut self.unmapped, unmapped.generation());
        let Some(stretches) = unmapped.since(before) else { return self.flush() };
        for stretch in stretches {
            if *stretch == Stretch::ALL {
                return self.flush();
            }
            for place in places(stretch) {
                self.arrays().for_each(|array| array.forget_place(place));
            }
        }
    }

    fn arrays(&mut self) -> impl Iterator<Item = &mut Array<P>> {
        self.read.iter_mut().chain(&mut self.write).chain([&mut self.tables])
    }

    /// Drops what has been invalidated since the last time; like [`Tlb::follow`]
    /// it comes before all else in a section.
    pub fn catch_up(&mut self, space: usize, log: &Log<Range>) {
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
            self.arrays().for_each(|array| array.forget(owner, range.start, range.last));
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
        self.arrays().for_each(Array::flush);
    }
}

/// Address bits below a leaf or entry of `level`.
pub fn level_shift(level: usize) -> u32 {
    12 + 9 * level as u32
}

#[cfg(all(test, not(loom)))]
#[path = "tlb_test.rs"]
mod tests;
