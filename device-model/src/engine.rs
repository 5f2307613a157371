// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An engine: takes a queue that is ready, runs it section by section, and
//! sees to what comes of it.

use crate::counters::count;
use crate::fault_queue::Group;
use crate::gate::{Shut, Term};
use crate::lookahead::{Lookahead, halted};
use crate::mmu::Mmu;
use crate::queue::{Binding, Halt, QueueEvent, Run};
use crate::ram::Dma;
use crate::refusal::{Deferred, Refusal, RefusalCause};
use crate::scheduler::Pick;
use crate::section::{PageFault, Section};
use crate::shared::Shared;
use crate::vram::Vram;
use farfault_abi::descriptor::STATUS_OK;
use farfault_abi::regs::ERR_TABLE;

/// What a queue may do, in bytes, before another gets its turn.
const SLICE_BYTES: u64 = 1 << 20;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done.
    Worked,
    /// There is nothing to do.
    Idle,
    /// Something must be done that waits for somebody else's step.
    Waiting,
    /// The device was reset, enabled or disabled, or its memory is another: attach anew.
    Over,
}

/// Guest and device memory as they were at a time, for engines to borrow from.
pub struct Attachment {
    memory: Dma,
    vram: Vram,
    term: Term,
}

impl Attachment {
    /// The present one.
    pub fn new(shared: &Shared) -> Self {
        let plane = shared.gate.look();
        Self { memory: plane.memory.clone(), vram: plane.vram.clone(), term: plane.term() }
    }

    /// Of when it is.
    pub(crate) fn term(&self) -> Term {
        self.term
    }
}

/// An engine.
pub struct Engine<'m> {
    shared: &'m Shared,
    term: Term,
    mmu: Mmu<'m>,
    /// The queue that it runs, and what is left of its slice.
    run: Option<Box<Run>>,
    left: u64,
}

impl<'m> Engine<'m> {
    /// An engine with an empty TLB.
    pub fn new(shared: &'m Shared, attachment: &'m Attachment) -> Self {
        Self {
            shared,
            term: attachment.term,
            mmu: Mmu::new(
                &attachment.memory,
                &attachment.vram,
                &shared.atomics,
                &shared.faulty,
                shared.config.tlb,
            ),
            run: None,
            left: 0,
        }
    }

    /// Runs one section of a queue.
    pub fn step(&mut self) -> Step {
        let mut run = match self.run.take() {
            Some(run) => run,
            None => match self.shared.scheduler.pick(self.term) {
                Pick::Run(run) => {
                    self.left = SLICE_BYTES;
                    run
                }
                Pick::Nothing => return Step::Idle,
                Pick::Over => return Step::Over,
                Pick::Forbidden => {
                    self.tell(Refusal::new(RefusalCause::BusMaster));
                    return Step::Idle;
                }
            },
        };
        let binding = run.binding;
        match self.section(&binding, |section| run_section(&mut run, section)) {
            Err(Shut::Over) => return Step::Over,
            Err(Shut::Moved) => {
                self.shared.scheduler.requeue(run);
                return Step::Over;
            }
            Err(Shut::BusMaster) => self.shared.scheduler.requeue(run),
            Ok((end, cost)) => {
                self.left = self.left.saturating_sub(cost);
                self.after(run, end);
            }
        }
        Step::Worked
    }

    /// Sees to what a section ended with.
    fn after(&mut self, run: Box<Run>, end: Result<QueueEvent, PageFault>) {
        let going_on = matches!(end, Ok(QueueEvent::Going | QueueEvent::Pause));
        let tally = &mut self.mmu.tally;
        if going_on && self.left > 0 && tally.descriptors + tally.descriptors_failed == 0 {
            self.run = Some(run);
            return;
        }
        // The shared counters are too hot to be touched in every section.
        self.shared.counters.fold(tally);
        match end {
            Ok(QueueEvent::Empty) => self.shared.scheduler.idle(run),
            Ok(QueueEvent::Halted(halt)) => self.halt(run, halt),
            Ok(QueueEvent::Finished { .. }) => {
                self.shared.signal(run.binding.vector);
                self.keep(run);
            }
            Ok(QueueEvent::Going | QueueEvent::Pause) => self.keep(run),
            Ok(QueueEvent::Stuck) => self.abandon(run),
            Err(fault) => self.park(run, fault),
        }
    }

    /// Goes on with the queue, or lets the next have its turn.
    fn keep(&mut self, run: Box<Run>) {
        if self.left > 0 {
            self.run = Some(run);
        } else {
            self.left = SLICE_BYTES;
            self.run = self.shared.scheduler.next_slice(run);
        }
    }

    /// Tells of what was refused outside of a section, unless a reset has come since:
    /// it was of the time before.
    fn tell(&self, refusal: Refusal) {
        let refusal = {
            let plane = self.shared.gate.look();
            (plane.epoch == self.term.epoch).then(|| self.shared.refuse(refusal))
        };
        refusal.inspect(|refusal| self.shared.tell(refusal));
    }

    fn park(&mut self, mut run: Box<Run>, fault: PageFault) {
        let binding = run.binding;
        let mut ahead = Lookahead::new(&mut run, &fault, self.shared.config.lookahead);
        while let Ok(true) = self.section(&binding, |section| ahead.look(section)) {}
        self.shared.counters.fold(&mut self.mmu.tally);
        let group = ahead.group();
        if self.shared.scheduler.park(run, group, fault) {
            self.post(Group::new(binding.queue, group, ahead.into_records()));
        }
        self.shared.scheduler.posted(binding.queue, self.term.epoch);
    }

    /// Leaves a queue to whoever disables it, as if it was halted, and tells nobody.
    fn abandon(&mut self, run: Box<Run>) {
        let queue = run.binding.queue;
        self.shared.scheduler.halt(run);
        self.shared.scheduler.posted(queue, self.term.epoch);
    }

    fn halt(&mut self, mut run: Box<Run>, halt: Halt) {
        let (binding, number) = (run.binding, run.next_group());
        if self.shared.scheduler.halt(run) {
            count(&self.shared.counters.queues_halted);
            self.post(Group::new(binding.queue, number, vec![halted(&binding, &halt)]));
            self.tell(Refusal {
                queue: Some(binding.queue),
                pasid: Some(binding.pasid),
                ..Refusal::at(RefusalCause::Halted { reason: halt.reason }, halt.address)
            });
        }
        self.shared.scheduler.posted(binding.queue, self.term.epoch);
    }

    fn post(&mut self, group: Group) {
        let shared = self.shared;
        let mut deferred = Deferred::default();
        {
            let plane = shared.gate.look();
            if plane.epoch != self.term.epoch {
                return;
            }
            shared.faults.lock().push(group);
            if plane.bus_master {
                shared.post_faults(&plane, &mut deferred);
            } else {
                // It waits until bus mastering is back.
                let refusal = shared.refuse(Refusal::new(RefusalCause::BusMaster));
                deferred.refusals.push(refusal);
            }
        }
        shared.settle(&deferred);
    }

    /// Does `work` in a section of a queue, and then tells what was refused in it.
    fn section<R>(
        &mut self,
        binding: &Binding,
        work: impl FnOnce(&mut Section<'_, 'm>) -> R,
    ) -> Result<R, Shut> {
        let shared = self.shared;
        let of_queue =
            |refusal| Refusal { queue: Some(binding.queue), pasid: Some(binding.pasid), ..refusal };
        let plane = shared.gate.pass(Some(self.term)).inspect_err(|shut| {
            if *shut == Shut::BusMaster {
                let refusal = of_queue(Refusal::new(RefusalCause::BusMaster));
                shared.tell(&shared.refuse(refusal));
            }
        })?;
        let mut section = Section::open(&mut self.mmu, plane, &shared.spaces, binding.pasid);
        let result = work(&mut section);
        if section.has_refused() {
            // Still behind the gate, so no reset has come between.
            shared.set_errors(ERR_TABLE);
        }
        drop(section);
        self.mmu.refusals.drain(..).for_each(|refusal| shared.tell(&of_queue(refusal)));
        if !self.mmu.accesses.often.is_empty() {
            self.post_accesses(binding.queue);
        }
        Ok(result)
    }

    /// Tells of what has been accessed often.
    fn post_accesses(&mut self, queue: u16) {
        let shared = self.shared;
        let mut deferred = Deferred::default();
        {
            let plane = shared.gate.look();
            let wanted = plane.epoch == self.term.epoch && plane.bus_master;
            for often in self.mmu.accesses.often.drain(..).filter(|_| wanted) {
                shared.post_access(&plane, often.record(queue), &mut deferred);
            }
        }
        shared.settle(&deferred);
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        self.shared.counters.fold(&mut self.mmu.tally);
        if let Some(run) = self.run.take() {
            self.shared.scheduler.requeue(run);
        }
    }
}

/// Runs a queue until the section is spent or something wants doing outside;
/// how that came, and what the section cost.
fn run_section(
    run: &mut Run,
    section: &mut Section<'_, '_>,
) -> (Result<QueueEvent, PageFault>, u64) {
    loop {
        let end = run.advance(section);
        match end {
            Ok(QueueEvent::Going) => continue,
            Ok(QueueEvent::Finished { status, interrupt }) => {
                section.count_descriptor(status == STATUS_OK);
                if !interrupt {
                    continue;
                }
            }
            _ => {}
        }
        return (end, section.cost());
    }
}
