// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands on nothing or on one u64: nop, fence, fetch-and-add.

use super::operation::{Ending, Flow, Operation};
use crate::section::{Access, Operand, PageFault, Section};
use farfault_abi::descriptor::STATUS_BAD_OPERAND;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_memory::VolatileMemory;

/// Bytes that these commands work on.
pub const SCALAR: u64 = 8;

pub struct Nop;

impl Operation for Nop {
    fn run(&mut self, _: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        Ok(Flow::Done)
    }
}

/// Stores a value after all that came before it.
pub struct Fence {
    destination: u64,
    value: u64,
    done: u64,
}

impl Fence {
    /// Not yet stored; `destination` is aligned.
    pub fn new(destination: u64, value: u64) -> Self {
        Self { destination, value, done: 0 }
    }
}

impl Operation for Fence {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        section.store_release(self.destination, self.value)?;
        self.done = SCALAR;
        Ok(Flow::Done)
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.done, 0)
    }
}

/// Adds to a value in one step that CPUs and other engines see as one.
pub struct FetchAdd {
    destination: u64,
    addend: u64,
    old: Option<u64>,
}

impl FetchAdd {
    /// Not yet added; `destination` is aligned.
    pub fn new(destination: u64, addend: u64) -> Self {
        Self { destination, addend, old: None }
    }
}

impl Operation for FetchAdd {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        let operand = Operand { address: self.destination, access: Access::MODIFY };
        let [cell] = section.piece([operand], SCALAR)?;
        let Ok(cell) = cell.get_atomic_ref::<AtomicU64>(0) else {
            let ending = Ending { status: STATUS_BAD_OPERAND, address: self.destination };
            return Ok(Flow::Failed(ending));
        };
        self.old = Some(cell.fetch_add(self.addend, Ordering::SeqCst));
        Ok(Flow::Done)
    }

    fn done_and_result(&self) -> (u64, u64) {
        self.old.map_or((0, 0), |old| (SCALAR, old))
    }
}
