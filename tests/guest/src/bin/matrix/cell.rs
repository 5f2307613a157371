// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One cell: a subject, a change to it, and whether device and CPU then see
//! what they must, at the cost it must have.

use crate::calls::{self, MADV_PAGEOUT, Span};
use crate::cpu::{Cpu, frames};
use crate::environment::Environment;
use crate::load::UnderWay;
use crate::model::{Access, Holds, Kind, Mapped, PAGE, Sample, Subject, stamp};
use crate::rig::Rig;
use crate::row::{Part, Row, Rule};
use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::drain;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use nix::Result as Called;
use nix::errno::Errno;
use std::time::Duration;

/// How often a change is asked for that the kernel declines for the moment.
const TRIES: u32 = 50;
/// Between two of them.
const MOMENT: Duration = Duration::from_millis(1);

/// What a change does to the words in its span, and to who may change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Keeps,
    /// There is nothing any more.
    Removes,
    /// They are what they were before anybody wrote to the mapping.
    Reverts,
    /// They are 0.
    Clears,
    /// They will be 0 once the kernel needs the page.
    Lapses,
    /// They can not be accessed.
    Hides,
    /// They can only be read.
    Seals,
    /// They can be written again.
    Unseals,
}

/// What a change does to what the device has mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// All of the span is taken out.
    Zapped,
    /// Nothing is: no fault is needed afterwards.
    Kept,
    /// Where the CPU's page table has another frame or none, it is taken out.
    AsCpu,
}

/// A change to a part of the subject.
pub struct Change {
    pub part: Part,
    /// Carries it out; what it does to addresses it enters in the subject.
    pub act: fn(&mut Subject, Span) -> Called<()>,
    pub effect: Effect,
    pub mirror: Mirror,
}

/// A cell at work.
pub struct Cell<'a> {
    pub environment: &'a Environment,
    pub row: &'a Row,
    pub rule: Rule,
    pub rig: &'a mut Rig,
    pub cpu: Cpu,
    pub subject: Subject,
    /// Whether commands are under way while the memory is changed.
    pub under_way: bool,
    /// Whether the kernel may decline the change then.
    pub declined: bool,
    generation: u64,
}

impl<'a> Cell<'a> {
    pub fn new(
        environment: &'a Environment,
        rig: &'a mut Rig,
        row: &'a Row,
        rule: Rule,
        length: u64,
        under_way: bool,
    ) -> Result<Self, Failure> {
        let subject = (row.make)(environment, row, length.max(row.length))?;
        let cpu = Cpu::new()?;
        let (declined, generation) = (false, 100);
        Ok(Self { environment, row, rule, rig, cpu, subject, under_way, declined, generation })
    }

    /// A cell like this one, with memory of its own, for a child.
    pub fn another<'b>(&self, rig: &'b mut Rig) -> Result<Cell<'b>, Failure>
    where
        'a: 'b,
    {
        let length = self.subject.span.length;
        Cell::new(self.environment, rig, self.row, self.rule, length, self.under_way)
    }

    /// Words for all samples that nothing has written before.
    pub fn next_words(&mut self) -> Vec<u64> {
        let words = self.peek_words();
        self.generation += 1;
        words
    }

    /// What they will be.
    pub fn peek_words(&self) -> Vec<u64> {
        (0..self.subject.samples.len() as u64).map(|n| stamp(self.generation, n)).collect()
    }

    /// Has the device map all of the subject, as the row likes it, and brings the
    /// row's state about.
    pub fn map(&mut self) -> Outcome {
        if self.row.prefetched && self.subject.samples.iter().all(Sample::is_there) {
            self.rig.prefetch(self.subject.span, self.row.touch)?;
            match self.row.touch {
                Access::Read => self.subject.accessed(Access::Read),
                Access::Write => self.subject.mapped(Mapped::Yes),
            }
        }
        self.device_reads("mapping")?;
        if self.row.touch == Access::Write {
            self.device_writes("mapping")?;
        }
        (self.row.prepare)(&mut self.subject)
    }

    /// Changes the subject as `change` says, or sees the kernel refuse it, and
    /// looks at everything.
    pub fn change(&mut self, change: &Change) -> Outcome {
        self.map()?;
        self.change_mapped(change)
    }

    /// Does so by an `act` that takes all of the span out of what the device has mapped.
    pub fn zap(
        &mut self,
        part: Part,
        effect: Effect,
        act: fn(&mut Subject, Span) -> Called<()>,
    ) -> Outcome {
        self.change(&Change { part, act, effect, mirror: Mirror::Zapped })
    }

    /// As [`change`](Self::change), when the device has the subject mapped.
    pub fn change_mapped(&mut self, change: &Change) -> Outcome {
        let commands = self.start_commands()?;
        let before = frames(&self.subject)?;
        let span = change.part.of(self.subject.span);
        let done = self.insist(|subject| (change.act)(subject, span));
        if self.was_done(done)? {
            self.apply(change, span, &before)?;
        } else {
            self.look_at_mirror(&before)?;
        }
        self.look_at_all(commands)
    }

    /// Asks again where the kernel declines only because somebody, as a rule the
    /// fault service, holds a page just then.
    pub fn insist(&mut self, mut act: impl FnMut(&mut Subject) -> Called<()>) -> Called<()> {
        let tries = if matches!(self.rule, Rule::Refused(_)) { 1 } else { TRIES };
        let mut asked = 1;
        let done = loop {
            match act(&mut self.subject) {
                Err(Errno::EAGAIN | Errno::EBUSY) if asked < tries => asked += 1,
                done => break done,
            }
            std::thread::sleep(MOMENT);
        };
        if asked > 1 {
            println!("# asked {asked} times");
        }
        done
    }

    /// Asks for reclaim of all of the subject, and sees that it is taken if it is at
    /// rest; gives whether the kernel did not refuse. Again, as long as somebody holds a
    /// page just then.
    pub fn page_out(&mut self, at_rest: bool) -> Result<bool, Failure> {
        self.subject.whole = false;
        let done = self.insist(|subject| {
            drain().map_err(|_| Errno::EIO)?;
            calls::advise(subject.span, MADV_PAGEOUT)?;
            let left = at_rest && frames(subject).map_err(|_| Errno::EIO)?.iter().any(|f| *f != 0);
            if left { Err(Errno::EAGAIN) } else { Ok(()) }
        });
        expect("pages are taken out of the page table", done != Err(Errno::EAGAIN))?;
        self.was_done(done)
    }

    /// Whether the kernel did it, or refused it as it must. Some changes it need not make
    /// while commands make pages busy or dirty each time it looks.
    pub fn was_done(&mut self, done: Called<()>) -> Result<bool, Failure> {
        if let Rule::Refused(errno) = self.rule {
            expect_equal("the kernel's refusal", &done, &Err(errno))?;
            return Ok(false);
        }
        if self.under_way && self.declined && done == Err(Errno::EAGAIN) {
            println!("# at rest only: not done while commands were under way");
            self.subject.whole = false;
            return Ok(false);
        }
        done.map_err(|errno| format!("the kernel refuses: {errno}"))?;
        Ok(true)
    }

    /// Ends the commands under way, or looks at everything at rest.
    pub fn look_at_all(&mut self, commands: Option<UnderWay>) -> Outcome {
        match commands {
            Some(commands) => self.end_commands(&commands),
            None => self.verify(),
        }
    }

    fn apply(&mut self, change: &Change, span: Span, before: &[u64]) -> Outcome {
        if change.part != Part::Whole && self.subject.leaf > PAGE {
            // A page table entry for all of it cannot stay, but what takes its place may.
            self.subject.whole = false;
            self.subject.mapped(Mapped::Maybe);
        }
        if change.mirror == Mirror::AsCpu {
            self.look_at_mirror(before)?;
        }
        let anonymous = self.subject.kind == Kind::Anonymous;
        for sample in self.subject.within(span) {
            if change.mirror == Mirror::Zapped {
                sample.mapped(Mapped::No);
            }
            match change.effect {
                Effect::Keeps => {}
                Effect::Removes => sample.holds = Holds::Nothing,
                Effect::Reverts => {
                    sample.becomes(sample.original);
                    if anonymous && sample.original == 0 {
                        sample.read_maps = Mapped::No; // it is the zero page
                    }
                }
                Effect::Clears => sample.becomes(0),
                Effect::Hides => sample.hide(),
                Effect::Lapses => {
                    sample.intact = false;
                    if let Holds::Word(word) = sample.holds {
                        sample.holds = Holds::Lapsing(word);
                    }
                }
                Effect::Seals => {
                    sample.reveal();
                    sample.writable = false;
                }
                Effect::Unseals => sample.writable = true,
            }
        }
        Ok(())
    }

    /// Concludes from the CPU's page table what the device may still have mapped.
    pub fn look_at_mirror(&mut self, before: &[u64]) -> Outcome {
        let after = frames(&self.subject)?;
        for (place, sample) in self.subject.samples.iter_mut().enumerate() {
            let same = after[place] != 0 && before.get(place) == Some(&after[place]);
            sample.mapped(if same { Mapped::Maybe } else { Mapped::No });
        }
        Ok(())
    }
}
