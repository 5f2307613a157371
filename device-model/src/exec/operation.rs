// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape that all commands have.

use crate::access::Access;
use crate::ram::Slice;
use crate::section::{Operand, PageFault, Section};

/// A command in flight.
pub trait Operation: Send {
    /// Goes on until it is done, needs a page, or the section is spent.
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault>;

    /// Bytes, elements or nodes done; and its result, or what there is of it.
    fn done_and_result(&self) -> (u64, u64) {
        (0, 0)
    }

    /// What it will stream through from here on, for look-ahead.
    fn streams(&self) -> [Option<Stream>; 2] {
        [None; 2]
    }
}

/// Where a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It wants another section.
    More,
    /// It did all it should.
    Done,
    /// It never ends, and nobody is told.
    Stuck,
    /// It cannot go on.
    Failed(Ending),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// STATUS value.
    pub status: u32,
    /// The address that the status speaks of, or 0.
    pub address: u64,
}

/// A range that is gone through from front to back, as far as it is still ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Next address.
    pub next: u64,
    /// First address after it.
    pub end: u64,
    /// What is done there.
    pub access: Access,
}

/// How far a streaming command has come in operands that run side by side.
#[derive(Clone, Copy, Debug)]
pub struct Progress<const N: usize> {
    /// Where they begin.
    pub operands: [Operand; N],
    /// Bytes of each.
    pub done: u64,
    total: u64,
}

impl<const N: usize> Progress<N> {
    /// At the beginning of operands of `total` bytes.
    pub fn new(operands: [(u64, Access); N], total: u64) -> Self {
        let operands = operands.map(|(address, access)| Operand { address, access });
        Self { operands, done: 0, total }
    }

    fn left(&self) -> u64 {
        self.total.saturating_sub(self.done)
    }

    /// What is ahead.
    pub fn streams(&self) -> [Option<Stream>; 2] {
        let mut streams = self.operands.iter().map(|Operand { address, access }| {
            let [next, end] = [self.done, self.total].map(|bytes| address.wrapping_add(bytes));
            Stream { next, end, access: *access }
        });
        [streams.next(), streams.next()]
    }

    /// Calls `work` with one piece after another, none longer than `longest`,
    /// until all is done, the section is spent, or `work` used less of a piece
    /// than there was. It is told where it is and says how many bytes it used.
    pub fn run(
        &mut self,
        section: &mut Section<'_, '_>,
        longest: u64,
        mut work: impl FnMut(u64, &[Slice<'_>; N]) -> u64,
    ) -> Result<Flow, PageFault> {
        while self.left() > 0 {
            if section.is_spent() {
                return Ok(Flow::More);
            }
            let here = self.operands.map(|Operand { address, access }| Operand {
                address: address.wrapping_add(self.done),
                access,
            });
            let batch = section.batch(here, longest, self.left());
            for piece in batch.pieces() {
                let used = work(self.done, piece);
                self.done += used;
                if piece.iter().any(|slice| used < slice.len() as u64) {
                    return Ok(Flow::Done);
                }
            }
            if let Some(fault) = batch.fault {
                return Err(fault);
            }
        }
        Ok(Flow::Done)
    }
}
