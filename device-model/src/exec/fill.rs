// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fill.

use super::operation::{Flow, Operation, Progress, Stream};
use crate::access::Access;
use crate::section::{PageFault, Section};
use crate::walk::PAGE;

/// Fills bytes with a pattern of eight.
pub struct Fill {
    pattern: u64,
    progress: Progress<1>,
}

impl Fill {
    pub fn new(destination: u64, pattern: u64, length: u64) -> Self {
        Self { pattern, progress: Progress::new([(destination, Access::WRITE)], length) }
    }
}

impl Operation for Fill {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        let bytes = self.pattern.to_le_bytes();
        // A page of pattern and a bit, so that a piece may begin anywhere in it.
        let mut page = [0; PAGE as usize + 8];
        page.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&bytes));
        self.progress.run(section, PAGE, |done, [to]| {
            let phase = (done % 8) as usize;
            to.copy_from(&page[phase..]);
            to.len() as u64
        })
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.progress.done, 0)
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        self.progress.streams()
    }
}
