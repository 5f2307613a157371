// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copy.

use super::operation::{Flow, Operation, Progress, Stream};
use crate::section::{Access, PageFault, SECTION_BYTES, Section};

/// Copies bytes from source to destination.
pub struct Copy {
    source: u64,
    destination: u64,
    progress: Progress,
}

impl Copy {
    pub fn new(source: u64, destination: u64, length: u64) -> Self {
        Self { source, destination, progress: Progress::new(length) }
    }
}

impl Operation for Copy {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        let operands = [(self.source, Access::READ), (self.destination, Access::WRITE)];
        self.progress.run(section, operands, SECTION_BYTES, |_, [from, to]| {
            from.copy_to_volatile_slice(*to);
            to.len() as u64
        })
    }

    fn done(&self) -> u64 {
        self.progress.done
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        [
            self.progress.stream(self.source, Access::READ),
            self.progress.stream(self.destination, Access::WRITE),
        ]
    }
}
