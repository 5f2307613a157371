// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copy.

use super::operation::{Flow, Operation, Progress, Stream};
use crate::section::{Access, PageFault, SECTION_BYTES, Section};

/// Copies bytes from source to destination.
pub struct Copy(Progress<2>);

impl Copy {
    pub fn new(source: u64, destination: u64, length: u64) -> Self {
        let operands = [(source, Access::READ), (destination, Access::WRITE)];
        Self(Progress::new(operands, length))
    }
}

impl Operation for Copy {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        self.0.run(section, SECTION_BYTES, |_, [from, to]| {
            from.copy_to_volatile_slice(*to);
            to.len() as u64
        })
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.0.done, 0)
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        self.0.streams()
    }
}
