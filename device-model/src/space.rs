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

use crate::access_counters::Counting;
use crate::log::Log;
use crate::sync::{RwLock, RwLockReadGuard};
use farfault_abi::regs::VA_BITS;

/// First address that no address space has.
pub const VA_END: u64 = 1 << VA_BITS;
/// Spaces of a device. PASIDs that are equal modulo this number share one,
/// which costs them a little waiting for each other and nothing else.
pub const SPACES: usize = 64;
/// What an invalidation covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Address space.
    pub pasid: u32,
    pub start: u64,
    /// Last address, inclusive.
    pub last: u64,
}

/// An address space, or several whose PASIDs fall together.
#[derive(Debug)]
pub struct Space {
    state: RwLock<SpaceState>,
}

/// What sections go by.
#[derive(Debug)]
pub struct SpaceState {
    /// What has been invalidated.
    pub log: Log<Range>,
    /// The PASIDs whose accesses are counted.
    counted: Vec<Counting>,
    /// How often that was said.
    serial: u64,
}

impl SpaceState {
    /// How the accesses of `pasid` are counted, if they are.
    pub fn counting(&self, pasid: u32) -> Option<Counting> {
        self.counted.iter().find(|counting| counting.pasid == pasid).copied()
    }
}

impl Space {
    /// A space that has seen no invalidation.
    pub fn new() -> Self {
        let log = Log::new();
        Self { state: RwLock::new(SpaceState { log, counted: Vec::new(), serial: 0 }) }
    }

    /// Opens a section. A thread opens one at a time: a second read guard
    /// behind a waiting writer would never be given.
    pub fn enter(&self) -> RwLockReadGuard<'_, SpaceState> {
        self.state.read()
    }

    /// Returns when no access through translations of `range` is left.
    pub fn invalidate(&self, range: Range) {
        self.state.write().log.push(range);
    }

    /// Has accesses of `pasid` counted, and told of after so many; or no more, if that is 0.
    pub fn count_accesses(&self, pasid: u32, threshold: u64) {
        let mut state = self.state.write();
        state.counted.retain(|counting| counting.pasid != pasid);
        state.serial += 1;
        if threshold != 0 {
            let serial = state.serial;
            state.counted.push(Counting { pasid, threshold, serial });
        }
    }

    fn count_nothing(&self) {
        self.state.write().counted.clear();
    }

    fn is_counting(&self) -> bool {
        !self.state.read().counted.is_empty()
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

    /// Counts no accesses any more, as after a reset.
    pub fn count_nothing(&self) {
        self.0.iter().for_each(Space::count_nothing);
    }

    /// Whether accesses of some PASID are counted.
    pub fn are_counting(&self) -> bool {
        self.0.iter().any(Space::is_counting)
    }

    /// The space that `pasid` lives in.
    pub fn of(&self, pasid: u32) -> &Space {
        &self.0[Self::index(pasid)]
    }
}

#[cfg(all(test, not(loom)))]
#[path = "space_test.rs"]
mod tests;
