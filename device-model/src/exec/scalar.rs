// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands on nothing or on one u64: nop, fence, fetch-and-add.

use super::operation::{Ending, Flow, Operation};
use crate::section::{PageFault, Section};
use farfault_abi::descriptor::STATUS_BAD_OPERAND;

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
        self.old = section.fetch_add(self.destination, self.addend)?;
        Ok(match self.old {
            Some(_) => Flow::Done,
            None => Flow::Failed(Ending { status: STATUS_BAD_OPERAND, address: self.destination }),
        })
    }

    fn done_and_result(&self) -> (u64, u64) {
        self.old.map_or((0, 0), |old| (SCALAR, old))
    }
}
