// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Single-precision a times x plus y.

use super::operation::{Flow, Operation, Progress, Stream};
use crate::access::Access;
use crate::section::{PageFault, Section};
use crate::walk::PAGE;

pub const ELEMENT: u64 = 4;

/// Adds a times each element of x to its element of y.
pub struct Saxpy {
    a: f32,
    progress: Progress<2>,
}

impl Saxpy {
    /// At its start; x and y are aligned to an element, so none crosses a page.
    pub fn new(a: f32, x: u64, y: u64, bytes: u64) -> Self {
        Self { a, progress: Progress::new([(x, Access::READ), (y, Access::MODIFY)], bytes) }
    }
}

impl Operation for Saxpy {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        let Self { a, progress } = self;
        let (mut xs, mut ys) = ([0; PAGE as usize], [0; PAGE as usize]);
        progress.run(section, PAGE, |_, [from, to]| {
            let length = from.copy_to(&mut xs).min(to.copy_to(&mut ys));
            for (x, y) in xs.as_chunks::<4>().0.iter().zip(ys.as_chunks_mut::<4>().0) {
                *y = (*a * f32::from_le_bytes(*x) + f32::from_le_bytes(*y)).to_le_bytes();
            }
            to.copy_from(&ys[..length]);
            length as u64
        })
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.progress.done / ELEMENT, 0)
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        self.progress.streams()
    }
}
