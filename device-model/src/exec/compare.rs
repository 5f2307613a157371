// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compare.

use super::operation::{Flow, Operation, Progress, Stream};
use crate::access::Access;
use crate::section::{PageFault, Section};
use crate::walk::PAGE;

/// Finds the first byte in which two ranges differ.
pub struct Compare(Progress<2>);

impl Compare {
    pub fn new(source: u64, destination: u64, length: u64) -> Self {
        Self(Progress::new([source, destination].map(|base| (base, Access::READ)), length))
    }
}

impl Operation for Compare {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        let mut bytes = [[0; PAGE as usize]; 2];
        let [a, b] = &mut bytes;
        // It ends at the first piece that is not the same to its end.
        self.0.run(section, PAGE, |_, [one, other]| {
            let length = one.copy_to(a).min(other.copy_to(b));
            same(&a[..length], &b[..length]) as u64
        })
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.0.done, self.0.done)
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        self.0.streams()
    }
}

/// Bytes that are the same before the first that is not.
fn same(a: &[u8], b: &[u8]) -> usize {
    if a == b {
        return a.len();
    }
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}
