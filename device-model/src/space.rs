// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Address spaces: who may use a translation, and until when.
//!
//! RULE 1: *an acknowledged invalidation means done.* A translation is used
//! only inside a **section**, the life of the read guard that [`Space::enter`]
//! gives; walk, TLB fill and the last byte of the access all lie in the same
//! section. [`Space::invalidate`] writes down the range under the write guard,
//! so when it returns
//!
//! - every section that began before has ended, and with it every access;
//! - every section that begins later sees the range and drops it from its
//!   engine's TLB before it looks anything up.
//!
//! Sections are short (see `section.rs`) and never block, so an invalidation
//! waits for at most one section of each engine. The writer sleeps on the lock;
//! a spinning one would wait whole time slices for a preempted engine.

use crate::sync::{RwLock, RwLockReadGuard};
use farfault_abi::regs::VA_BITS;

/// First address that no address space has.
pub const VA_END: u64 = 1 << VA_BITS;
/// Spaces of a device. PASIDs that are equal modulo this number share one,
/// which costs them a little waiting for each other and nothing else.
pub const SPACES: usize = 64;
/// Invalidations that an engine can be behind before it must drop everything.
pub const RANGES: usize = 64;

/// What an invalidation covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Address space.
    pub pasid: u32,
    pub start: u64,
    /// Last address, inclusive.
    pub last: u64,
}

/// The latest invalidations of a space.
#[derive(Debug)]
pub struct Log {
    generation: u64,
    ranges: [Range; RANGES],
}

impl Log {
    /// How many invalidations there have been.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The ranges that came after generation `seen`, or nothing if some of
    /// them have been overwritten.
    pub fn since(&self, seen: u64) -> Option<impl Iterator<Item = &Range> + Clone> {
        let behind = self.generation.wrapping_sub(seen);
        let fits = behind <= RANGES as u64;
        fits.then(|| (seen..self.generation).filter_map(|n| self.ranges.get(n as usize % RANGES)))
    }
}

/// An address space, or several whose PASIDs fall together.
#[derive(Debug)]
pub struct Space {
    log: RwLock<Log>,
}

impl Space {
    /// A space that has seen no invalidation.
    pub fn new() -> Self {
        Self { log: RwLock::new(Log { generation: 0, ranges: [Range::default(); RANGES] }) }
    }

    /// Opens a section. A thread opens one at a time: a second read guard
    /// behind a waiting writer would never be given.
    pub fn enter(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read()
    }

    /// Returns when no access through translations of `range` is left.
    pub fn invalidate(&self, range: Range) {
        let mut log = self.log.write();
        let slot = log.generation as usize % RANGES;
        if let Some(entry) = log.ranges.get_mut(slot) {
            *entry = range;
        }
        log.generation += 1;
    }
}

#[derive(Debug)]
pub struct Spaces(Vec<Space>);

impl Spaces {
    pub fn new() -> Self {
        Self((0..SPACES).map(|_| Space::new()).collect())
    }

    /// The number of the space that `pasid` lives in.
    pub fn index(pasid: u32) -> usize {
        pasid as usize % SPACES
    }

    /// The space that `pasid` lives in.
    pub fn of(&self, pasid: u32) -> &Space {
        &self.0[Self::index(pasid)]
    }
}

#[cfg(all(test, not(loom)))]
#[path = "space_test.rs"]
mod tests;
