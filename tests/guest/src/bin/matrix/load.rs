// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device does to each sample, over and over, while the memory is changed:
//! it reads, writes and adds, on a queue for each.

use crate::calls::{self, MAP_SHARED, READ_WRITE, Source, Span};
use crate::cpu::Cpu;
use crate::mill::Mill;
use crate::model::{Access, MARK, PAGE, STAMP, Subject, TALLY, stamp};
use crate::rig::{Answer, LINE, Rig, answer};
use crate::walk::Walk;
use farfault_client::raw::descriptor::{Completion, Descriptor};
use farfault_guest_programs::{Failure, commands};
use nix::Result as Called;
use std::ops::RangeInclusive;

/// What is done to a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Read,
    Write,
    Add,
}

/// What has to be allowed for it.
pub fn access(work: Work) -> Access {
    if work == Work::Read { Access::Read } else { Access::Write }
}

/// Word that is written to the sample of that number.
pub fn mark(number: usize) -> u64 {
    stamp(0xffff, number as u64)
}

/// One kind of work on all samples, as they were when it began.
pub struct Load {
    pub work: Work,
    /// Where each sample was.
    pub places: Vec<u64>,
    /// How the first lap ended.
    pub first: Vec<Answer>,
    mill: Mill,
    /// What was read goes here, shared so that a fork leaves it alone. It goes with the
    /// process: the device may still have commands that write to it.
    landing: Span,
    cpu: Cpu,
}

impl Load {
    /// Has `work` done once to each sample of `subject`, and from then on again and again.
    pub fn start(rig: &Rig, subject: &Subject, work: Work) -> Result<Self, Failure> {
        let landing = calls::map(PAGE, PAGE, READ_WRITE, MAP_SHARED, Source::Nothing)?;
        let places = subject.addresses(0);
        let commands: Vec<_> =
            (0..).zip(&places).map(|(n, at)| command(work, n, *at, landing)).collect();
        let (mill, records) = Mill::new(rig.device(), &commands)?;
        let mut load = Self { work, places, first: Vec::new(), mill, landing, cpu: Cpu::new()? };
        load.first = load.answers(&records)?;
        load.mill.start();
        load.mill.go_round()?;
        Ok(load)
    }

    /// How often at least it has been tried on each sample.
    pub fn laps(&self) -> u64 {
        self.mill.laps()
    }

    /// Has it done once more to each sample, and ends it: gives how that ended.
    pub fn finish(&self) -> Result<Vec<Answer>, Failure> {
        self.mill.go_round()?;
        let records = self.mill.stop()?;
        self.answers(&records)
    }

    /// Values are what was read, or was there before the addition.
    fn answers(&self, records: &[Completion]) -> Result<Vec<Answer>, Failure> {
        let value = |number: usize, record: &Completion| -> Called<u64> {
            match self.work {
                Work::Read => self.cpu.load(self.landing.start + number as u64 * LINE),
                Work::Write => Ok(0),
                Work::Add => Ok(record.result),
            }
        };
        let answers = records.iter().enumerate();
        answers.map(|(number, record)| answer(record, value(number, record)?)).collect()
    }
}

fn command(work: Work, number: usize, at: u64, landing: Span) -> Descriptor {
    match work {
        Work::Read => commands::copy(at + STAMP, landing.start + number as u64 * LINE, LINE),
        Work::Write => commands::store(at + MARK, mark(number)),
        Work::Add => commands::add(at + TALLY, 1),
    }
}

/// All that the device has to do while memory is changed.
pub struct UnderWay {
    pub loads: Vec<Load>,
    /// Laps of each that were complete before the change.
    pub before: Vec<u64>,
    pub walk: Option<Walk>,
}

/// How work on a sample of `subject` that was at `at` must end now, if that is known:
/// after some changes it is mapped twice.
pub fn must_succeed(subject: &Subject, at: u64, work: Work) -> Option<bool> {
    let sample = subject.samples.iter().find(|sample| sample.at == at)?;
    Some(sample.allows(access(work)))
}

/// What a sum can be that was `first` when the load began, with `laps` of additions, of
/// which `before` were made before anything changed, if any may be missing.
pub fn sums(first: u64, before: u64, laps: u64, exact: bool) -> RangeInclusive<u64> {
    let least = if exact { laps } else { before };
    first + least..=first + laps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Holds, Kind};

    #[test]
    fn only_additions_that_may_have_been_refused_may_be_missing() {
        assert_eq!(sums(5, 10, 30, true), 35..=35);
        assert_eq!(sums(5, 10, 30, false), 15..=35);
    }

    #[test]
    fn what_must_become_of_work_is_told_by_the_sample_that_is_there_now() {
        let span = Span { start: 1 << 30, length: 16 * PAGE };
        let mut subject = Subject::new(span, Kind::Anonymous, false, PAGE);
        subject.samples[0].writable = false;
        subject.samples[1].holds = Holds::Nothing;
        let at = |number: usize| subject.samples[number].at;
        assert_eq!(must_succeed(&subject, at(0), Work::Read), Some(true));
        assert_eq!(must_succeed(&subject, at(0), Work::Add), Some(false));
        assert_eq!(must_succeed(&subject, at(1), Work::Read), Some(false));
        assert_eq!(must_succeed(&subject, at(2), Work::Write), Some(true));
        assert_eq!(must_succeed(&subject, 0, Work::Read), None);
    }
}
