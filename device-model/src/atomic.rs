// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Atomic operations on memory: with the CPUs' own, or by a unit of the device's.
//!
//! A device without AtomicOps reads and writes. Other engines do not come between, but a
//! CPU may: that it does not is for the driver to see to, which gives the device the page
//! for itself and says so in the leaf.

use crate::ram::Slice;
use crate::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_memory::{Bytes, VolatileMemory};

/// Turns of a loop between the read and the write, so that a CPU that has the page when it must
/// not is likely to come between.
const BUS: u32 = 16;

/// How the engines of a device carry out atomic operations.
pub enum Atomics {
    /// As CPUs do.
    System,
    /// One at a time.
    Own(Mutex<()>),
}

impl Atomics {
    pub fn new(system: bool) -> Self {
        if system { Self::System } else { Self::Own(Mutex::new(())) }
    }

    /// Adds to a u64; its old value, or nothing if it is not aligned.
    pub fn fetch_add(&self, cell: &Slice<'_>, addend: u64) -> Option<u64> {
        match self {
            Self::System => {
                let cell = cell.get_atomic_ref::<AtomicU64>(0).ok()?;
                Some(cell.fetch_add(addend, Ordering::SeqCst))
            }
            Self::Own(unit) => {
                let _alone = unit.lock();
                let old: u64 = cell.load(0, Ordering::Acquire).ok()?;
                // A read over a bus takes its time.
                (0..BUS).for_each(|_| std::hint::spin_loop());
                cell.store(old.wrapping_add(addend), 0, Ordering::Release).ok()?;
                Some(old)
            }
        }
    }
}
