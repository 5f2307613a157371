// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The latest entries of something that engines follow, each as far as it comes.

/// Entries that an engine can be behind before it must drop everything.
pub const KEPT: usize = 64;

/// What was written down, and how much there has been.
#[derive(Debug)]
pub struct Log<T> {
    generation: u64,
    kept: [T; KEPT],
}

impl<T: Copy + Default> Log<T> {
    /// One in which nothing stands.
    pub fn new() -> Self {
        Self { generation: 0, kept: [T::default(); KEPT] }
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: T) {
        let slot = self.generation as usize % KEPT;
        if let Some(place) = self.kept.get_mut(slot) {
            *place = entry;
        }
        self.generation += 1;
    }

    /// How many entries there have been.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The entries that came after generation `seen`, or nothing if some of
    /// them have been overwritten.
    pub fn since(&self, seen: u64) -> Option<impl Iterator<Item = &T> + Clone> {
        let behind = self.generation.wrapping_sub(seen);
        let fits = behind <= KEPT as u64;
        fits.then(|| (seen..self.generation).filter_map(|n| self.kept.get(n as usize % KEPT)))
    }
}
