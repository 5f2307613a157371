// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bytes beside what the device writes, in the same pages: the CPU writes
//! them meanwhile. After a fork that makes it copy a page under the device.

use crate::buffer::Buffer;
use farfault_workloads::random::Random;
use std::ops::Range;

/// How close to the device's bytes the CPU writes.
const WIDTH: usize = 64;

/// What is left of a buffer while the device has a part of it, with its shadow.
pub struct Margins<'a> {
    before: [&'a mut [u8]; 2],
    after: [&'a mut [u8]; 2],
}

impl<'a> Margins<'a> {
    /// Takes `range` of `buffer` and of its shadow out, and keeps what is beside it.
    pub fn around(
        buffer: &'a mut Buffer,
        range: &Range<usize>,
    ) -> (&'a mut [u8], &'a mut [u8], Self) {
        let (before, rest) = buffer.memory.split_at_mut(range.start);
        let (part, after) = rest.split_at_mut(range.len());
        let (shadow_before, rest) = buffer.shadow.split_at_mut(range.start);
        let (shadow, shadow_after) = rest.split_at_mut(range.len());
        let margins = Self { before: [before, shadow_before], after: [after, shadow_after] };
        (part, shadow, margins)
    }

    /// Has the CPU write on both sides.
    pub fn scribble(&mut self, random: &mut Random) {
        let mut bytes = [0; WIDTH];
        random.fill(&mut bytes);
        for memory in &mut self.before {
            let length = memory.len();
            let width = WIDTH.min(length);
            memory[length - width..].copy_from_slice(&bytes[..width]);
        }
        for memory in &mut self.after {
            let width = WIDTH.min(memory.len());
            memory[..width].copy_from_slice(&bytes[..width]);
        }
    }
}
