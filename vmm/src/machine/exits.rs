// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts what a guest's accesses cost: exits to this process, by kind and by
//! place.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The kinds of access that leave the guest for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// `in`
    PortRead,
    /// `out`
    PortWrite,
    /// A load from where no memory is.
    MemoryRead,
    /// A store to where no memory is.
    MemoryWrite,
}

/// Places counted apart. A guest that touches more is not given more memory
/// of ours for it.
const PLACES: usize = 1024;

#[derive(Debug, Default)]
pub struct Exits {
    pio: AtomicU64,
    mmio: AtomicU64,
    other: AtomicU64,
    at_start: AtomicU64,
    places: Mutex<BTreeMap<(Access, u64), u64>>,
}

impl Exits {
    /// Counts an access to a port or address.
    pub fn count(&self, access: Access, place: u64) {
        let counter = match access {
            Access::PortRead | Access::PortWrite => &self.pio,
            Access::MemoryRead | Access::MemoryWrite => &self.mmio,
        };
        counter.fetch_add(1, Relaxed);
        let mut places = self.places.lock();
        if places.len() < PLACES || places.contains_key(&(access, place)) {
            *places.entry((access, place)).or_default() += 1;
        }
    }

    /// Counts an exit that is no access: a signal, a halt.
    pub fn count_other(&self) {
        self.other.fetch_add(1, Relaxed);
    }

    /// Remembers the count until now as what starting the guest took. Only the
    /// first call does.
    pub fn mark_started(&self) {
        let [pio, mmio, ..] = self.read();
        let _ = self.at_start.compare_exchange(0, pio + mmio, Relaxed, Relaxed);
    }

    /// Port accesses, memory accesses, exits that were neither, and accesses of both
    /// kinds until [`Exits::mark_started`].
    pub fn read(&self) -> [u64; 4] {
        [&self.pio, &self.mmio, &self.other, &self.at_start].map(|count| count.load(Relaxed))
    }

    /// Goes on from what [`Exits::read`] gave.
    pub fn restore(&self, counts: [u64; 4]) {
        let counters = [&self.pio, &self.mmio, &self.other, &self.at_start];
        counters.iter().zip(counts).for_each(|(counter, count)| counter.store(count, Relaxed));
    }

    /// A table of places, the most frequent first.
    pub fn histogram(&self) -> String {
        let places = self.places.lock();
        let mut rows: Vec<_> = places.iter().map(|(key, count)| (*key, *count)).collect();
        rows.sort_by_key(|(key, count)| (std::cmp::Reverse(*count), *key));
        let mut table = String::new();
        for ((access, place), count) in rows {
            let kind = match access {
                Access::PortRead => "in ",
                Access::PortWrite => "out",
                Access::MemoryRead => "load",
                Access::MemoryWrite => "store",
            };
            let _ = writeln!(table, "{count:>8}  {kind:<5}  {place:#x}");
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart_and_the_start_is_kept() {
        let exits = Exits::default();
        exits.count(Access::PortRead, 0x3f8);
        exits.count(Access::PortWrite, 0x3f8);
        exits.count(Access::MemoryWrite, 0xe000_0000);
        exits.count_other();
        exits.mark_started();
        exits.count(Access::MemoryRead, 0xe000_0000);
        exits.mark_started();
        assert_eq!(exits.read(), [2, 2, 1, 3]);
    }

    #[test]
    fn a_guest_cannot_make_the_histogram_grow_without_end() {
        let exits = Exits::default();
        (0..2 * PLACES as u64).for_each(|address| exits.count(Access::MemoryRead, address));
        assert_eq!(exits.histogram().lines().count(), PLACES);
        assert_eq!(exits.read()[1], 2 * PLACES as u64);
    }

    #[test]
    fn the_histogram_has_the_most_frequent_first() {
        let exits = Exits::default();
        exits.count(Access::PortRead, 0x64);
        exits.count(Access::PortWrite, 0x70);
        exits.count(Access::PortWrite, 0x70);
        let histogram = exits.histogram();
        let rows: Vec<_> =
            histogram.lines().map(str::split_whitespace).map(Vec::from_iter).collect();
        assert_eq!(rows, [["2", "out", "0x70"], ["1", "in", "0x64"]]);
    }
}
