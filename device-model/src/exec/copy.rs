// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copy.

use super::operation::{Ending, Flow, Operation, Progress, Stream};
use crate::access::Access;
use crate::faulty::Verdict;
use crate::section::{Operand, PageFault, SECTION_BYTES, Section};
use farfault_abi::descriptor::STATUS_FAULT;

/// Copies bytes from source to destination.
pub struct Copy {
    progress: Progress<2>,
    /// What becomes of it, once that is known.
    verdict: Option<Verdict>,
}

impl Copy {
    pub fn new(source: u64, destination: u64, length: u64) -> Self {
        let operands = [(source, Access::READ), (destination, Access::WRITE)];
        // There is nothing that could go wrong with no bytes.
        let verdict = (length == 0).then_some(Verdict::Made);
        Self { progress: Progress::new(operands, length), verdict }
    }

    fn judge(&mut self, section: &mut Section<'_, '_>) -> Result<Verdict, PageFault> {
        if self.verdict.is_none() {
            self.verdict = Some(section.judge_copy(self.progress.operands)?);
        }
        Ok(self.verdict.unwrap_or(Verdict::Made))
    }
}

impl Operation for Copy {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        match self.judge(section)? {
            Verdict::Made => self.progress.run(section, SECTION_BYTES, |_, [from, to]| {
                from.copy_to_volatile_slice(*to);
                to.len() as u64
            }),
            Verdict::Fails => {
                let [_, Operand { address, .. }] = self.progress.operands;
                Ok(Flow::Failed(Ending { status: STATUS_FAULT, address }))
            }
            Verdict::Stuck => Ok(Flow::Stuck),
        }
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.progress.done, 0)
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        self.progress.streams()
    }
}
