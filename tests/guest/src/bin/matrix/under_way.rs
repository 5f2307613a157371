// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The commands under way while a cell's memory is changed.

use crate::cell::Cell;
use crate::load::{Load, UnderWay, Work, mark, must_succeed, sums};
use crate::look::holds;
use crate::model::{Access, LINK, MARK, PAGE, STAMP, TALLY};
use crate::rig::Answer;
use crate::walk::Walk;
use farfault_guest_programs::Failure;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};

impl Cell<'_> {
    /// Has the device read each sample over and over, also where it may not. Where the
    /// row is not about memory that nobody has written to, it writes and adds as well,
    /// and if links can lead from each sample to the next, walks along them. Returns when
    /// each sample has been reached by all of it.
    pub fn start_commands(&mut self) -> Result<Option<UnderWay>, Failure> {
        if !self.under_way {
            return Ok(None);
        }
        self.subject.samples.iter_mut().for_each(|sample| sample.intact = true);
        let (mut works, mut walk) = (vec![Work::Read], None);
        if self.row.touch == Access::Write {
            works.extend([Work::Write, Work::Add]);
            walk = self.start_walk()?;
        }
        let start = |work| Load::start(self.rig, &self.subject, work);
        let loads = works.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
        for load in &loads {
            self.ended_rightly("before the change", load, &load.first)?;
        }
        let before = loads.iter().map(Load::laps).collect();
        Ok(Some(UnderWay { loads, before, walk }))
    }

    /// Has all of it come to an end, and looks at what it did.
    pub fn end_commands(&mut self, under_way: &UnderWay) -> Outcome {
        for (load, before) in under_way.loads.iter().zip(&under_way.before) {
            let answers = load.finish()?;
            self.ended_rightly("after the change", load, &answers)?;
            match load.work {
                Work::Read => self.was_read(load, &answers)?,
                Work::Write => self.was_written(load)?,
                Work::Add => self.was_added(load, *before)?,
            }
        }
        if let Some(walk) = &under_way.walk {
            self.end_walk(walk)?;
        }
        self.cpu_reads("read by the CPU, after the commands under way")?;
        let batch = self.rig.load(&self.subject.addresses(STAMP))?;
        for (sample, answer) in self.subject.samples.iter_mut().zip(batch.answers) {
            holds("read by the device, after them", sample.at + STAMP, &mut sample.holds, answer)?;
        }
        Ok(())
    }

    /// Each command of a lap succeeded, or was refused, as it must.
    fn ended_rightly(&self, when: &str, load: &Load, answers: &[Answer]) -> Outcome {
        for (&at, answer) in load.places.iter().zip(answers) {
            if let Some(allowed) = must_succeed(&self.subject, at, load.work) {
                let told = format!("{:?} under way {when} at {at:#x}: {answer:x?}", load.work);
                expect(&told, answer.is_ok() == allowed)?;
                let address = answer.err().unwrap_or(at);
                expect(&told, address / PAGE == at / PAGE)?;
            }
        }
        Ok(())
    }

    fn was_read(&mut self, load: &Load, answers: &[Answer]) -> Outcome {
        for (&at, answer) in load.places.iter().zip(answers) {
            if let Some(sample) = self.subject.samples.iter_mut().find(|sample| sample.at == at) {
                holds("read under way, after the change", at + STAMP, &mut sample.holds, *answer)?;
            }
        }
        Ok(())
    }

    fn was_written(&self, load: &Load) -> Outcome {
        for (number, &at) in load.places.iter().enumerate() {
            if must_succeed(&self.subject, at, load.work) == Some(true) {
                let word = self.cpu.load(at + MARK);
                expect_equal("word written under way", &word, &Ok(mark(number)))?;
            }
        }
        Ok(())
    }

    /// No addition is lost, or done twice: all of them are in the sample, wherever it is
    /// now, but for those that the device could not make.
    fn was_added(&self, load: &Load, before: u64) -> Outcome {
        let places = load.places.iter().zip(&load.first);
        for (sample, (&at, &first)) in self.subject.samples.iter().zip(places) {
            let Ok(first) = first else { continue };
            if sample.intact && sample.is_there() {
                let exact = sample.at == at && sample.allows(Access::Write);
                let (sum, laps) = (self.cpu.load(sample.at + TALLY)?, load.laps());
                let expected = sums(first, before, laps, exact);
                let told = format!("sum {sum} at {:#x} is in {expected:?}", sample.at + TALLY);
                expect(&told, expected.contains(&sum))?;
            }
        }
        Ok(())
    }

    /// Joins the samples in a circle and has the device walk around it.
    fn start_walk(&mut self) -> Result<Option<Walk>, Failure> {
        let samples = &self.subject.samples;
        if !samples.iter().all(|sample| sample.allows(Access::Write)) {
            return Ok(None);
        }
        // Backwards, so that it also leads to the end if contents move forwards.
        let nexts = samples.iter().cycle().skip(samples.len() - 1);
        for (sample, next) in samples.iter().zip(nexts) {
            self.cpu.store(sample.at + LINK, next.at + LINK)?;
        }
        Walk::start(self.rig.device(), samples[0].at).map(Some)
    }

    /// The walk ends where there is nothing, where a link was cleared, or
    /// otherwise when the CPU clears one that the device must come to see.
    fn end_walk(&mut self, walk: &Walk) -> Outcome {
        let samples = &self.subject.samples;
        let there =
            |place: u64| samples.iter().all(|s| s.is_there() || s.at / PAGE != place / PAGE);
        if samples.iter().all(|sample| sample.is_there()) {
            expect("the walk goes on", walk.is_under_way() || self.is_cut())?;
            for sample in samples {
                // Where the CPU may not write, nobody can.
                let _ = self.cpu.store(sample.at + LINK, 0);
            }
            if samples.iter().any(|sample| sample.writable) {
                let end = walk.end()?;
                expect(&format!("the walk ends at a cleared link: {end:x?}"), end.is_ok())?;
            }
            return Ok(());
        }
        match walk.end()? {
            Err(address) => expect(
                &format!("the walk is refused where nothing is, not at {address:#x}"),
                !there(address),
            ),
            Ok(_) => expect("the walk comes to an end", self.is_cut()),
        }
    }

    /// Whether some link may be gone, with the word beside it.
    fn is_cut(&self) -> bool {
        let samples = &self.subject.samples;
        samples.iter().any(|sample| self.cpu.load(sample.at + LINK) == Ok(0))
    }
}
