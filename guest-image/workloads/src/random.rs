// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Numbers that look random and are the same in every run with the same seed.

use std::ops::Range;

/// A generator (SplitMix64: Steele, Lea, Flood, 2014).
#[derive(Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator of its own for each place that `path` names below `seed`.
    pub fn new(seed: u64, path: &[u64]) -> Self {
        let mut random = Self { state: seed };
        for &step in path {
            random.state = random.bits() ^ step;
        }
        random
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // The bias of the remainder does not matter here.
        (self.bits() % limit as u64) as usize
    }

    /// A range inside `length` bytes whose start and length are multiples of
    /// `unit`; short ones are as likely as long ones.
    pub fn range(&mut self, length: usize, unit: usize) -> Range<usize> {
        let units = length / unit;
        let magnitude = self.below(units.ilog2() as usize + 1);
        let count = 1 + self.below(1 << magnitude);
        let start = self.below(units - count + 1);
        start * unit..(start + count) * unit
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers() {
        let take = |seed, path: &[u64]| {
            let mut random = Random::new(seed, path);
            [random.bits(), random.bits()]
        };
        assert_eq!(take(1, &[2, 3]), take(1, &[2, 3]));
        assert_ne!(take(1, &[2, 3]), take(1, &[3, 2]));
        assert_ne!(take(1, &[]), take(2, &[]));
    }

    #[test]
    fn ranges_stay_inside_and_keep_their_unit() {
        let mut random = Random::new(7, &[]);
        for _ in 0..10_000 {
            let range = random.range(4096, 8);
            assert!(range.start < range.end && range.end <= 4096);
            assert!(range.start.is_multiple_of(8) && range.end.is_multiple_of(8));
        }
        assert_eq!(random.range(8, 8), 0..8);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<_> = (0..100).collect();
        Random::new(3, &[]).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
