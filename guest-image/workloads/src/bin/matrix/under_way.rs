// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command under way while a cell's memory is changed.

use crate::cell::Cell;
use crate::look::holds;
use crate::model::{Access, LINK, PAGE, STAMP};
use crate::rig::Chase;
use farfault_workloads::Failure;
use farfault_workloads::ktap::{Outcome, expect};

impl Cell<'_> {
    /// Joins the samples in a circle and has the device walk around it.
    pub fn start_chase(&mut self) -> Result<Option<Chase>, Failure> {
        let samples = &self.subject.samples;
        let usable = samples.iter().all(|sample| sample.allows(Access::Write));
        if !self.under_way || !usable || self.row.touch == Access::Read {
            return Ok(None);
        }
        // Backwards, so that it also leads to the end if contents move forwards.
        let nexts = samples.iter().cycle().skip(samples.len() - 1);
        for (sample, next) in samples.iter().zip(nexts) {
            self.cpu.store(sample.at + LINK, next.at + LINK)?;
        }
        self.rig.chase(samples[0].at).map(Some)
    }

    /// The walk ends where there is nothing, where a link was cleared, or
    /// otherwise when the CPU clears one that the device must come to see.
    pub fn end_chase(&mut self, chase: &Chase) -> Outcome {
        let samples = &self.subject.samples;
        let there =
            |place: u64| samples.iter().all(|s| s.is_there() || s.at / PAGE != place / PAGE);
        if samples.iter().all(|sample| sample.is_there()) {
            expect("the command goes on", chase.is_under_way() || self.is_cut())?;
            for sample in samples {
                // Where the CPU may not write, nobody can.
                let _ = self.cpu.store(sample.at + LINK, 0);
            }
            if samples.iter().any(|sample| sample.writable) {
                expect("the command ends at a cleared link", chase.end()?.is_ok())?;
            }
        } else {
            match chase.end()? {
                Err(address) => expect(
                    &format!("the command is refused where nothing is, not at {address:#x}"),
                    !there(address),
                )?,
                Ok(_) => expect("the command comes to an end", self.is_cut())?,
            }
        }
        self.cpu_reads("read by the CPU, after the command under way")?;
        let batch = self.rig.load(&self.subject.addresses(STAMP))?;
        for (sample, answer) in self.subject.samples.iter_mut().zip(batch.answers) {
            holds(
                "read by the device, after the command",
                sample.at + STAMP,
                &mut sample.holds,
                answer,
            )?;
        }
        Ok(())
    }

    /// Whether some link may be gone, with the word beside it.
    fn is_cut(&self) -> bool {
        let samples = &self.subject.samples;
        samples.iter().any(|sample| self.cpu.load(sample.at + LINK) == Ok(0))
    }
}
