// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An engine: takes a queue that is ready, runs it section by section, and
//! sees to what comes of it.

use farfault_abi::descriptor::STATUS_OK;
use farfault_abi::pci::VECTOR_FAULT;
use farfault_abi::regs::{ERR_BUS_MASTER, ERR_TABLE};

use crate::counters::{Tally, count};
use crate::fault_queue::Group;
use crate::gate::Shut;
use crate::lookahead::{Ahead, halted, request};
use crate::queue::{Event, Halt, Run};
use crate::ram::{Dma, Ram, Slice, nothing};
use crate::scheduler::Pick;
use crate::section::{PageFault, Section};
use crate::shared::Shared;
use crate::space::Spaces;
use crate::tlb::Tlb;

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
    /// The device was reset, enabled or disabled: attach anew.
    Over,
}

/// Guest memory as of an epoch, for engines to borrow from.
pub struct Attachment {
    memory: Dma,
    epoch: u64,
}

impl Attachment {
    /// The present epoch's.
    pub fn new(shared: &Shared) -> Self {
        let plane = shared.gate.look();
        Self { memory: plane.memory.clone(), epoch: plane.epoch }
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// An engine.
pub struct Engine<'m> {
    shared: &'m Shared,
    memory: Ram<'m>,
    epoch: u64,
    tlb: Tlb<Slice<'m>>,
    tally: Tally,
    /// The queue that it runs, and what is left of its slice.
    run: Option<Box<Run>>,
    left: u64,
}

/// How a section ended.
#[derive(Clone, Copy)]
enum End {
    Event(Event),
    Fault(PageFault),
}

impl<'m> Engine<'m> {
    /// An engine with an empty TLB.
    pub fn new(shared: &'m Shared, attachment: &'m Attachment) -> Self {
        Self {
            shared,
            memory: Ram::new(&attachment.memory),
            epoch: attachment.epoch,
            tlb: Tlb::new(nothing()),
            tally: Tally::default(),
            run: None,
            left: 0,
        }
    }

    /// Runs one section of a queue.
    pub fn step(&mut self) -> Step {
        let mut run = match self.run.take() {
            Some(run) => run,
            None => match self.shared.scheduler.pick(self.epoch) {
                Pick::Run(run) => {
                    self.left = SLICE_BYTES;
                    run
                }
                Pick::Nothing => return Step::Idle,
                Pick::Over => return Step::Over,
                Pick::Forbidden => {
                    self.report(ERR_BUS_MASTER);
                    return Step::Idle;
                }
            },
        };
        match self.section(run.binding.pasid, |section| run_section(&mut run, section)) {
            Err(Shut::Over) => return Step::Over,
            Err(Shut::BusMaster) => self.shared.scheduler.requeue(run),
            Ok((end, cost)) => {
                self.left = self.left.saturating_sub(cost);
                self.after(run, end);
            }
        }
        Step::Worked
    }

    /// Sees to what a section ended with.
    fn after(&mut self, run: Box<Run>, end: End) {
        let going_on = matches!(end, End::Event(Event::Going | Event::Pause));
        let ended = self.tally.descriptors + self.tally.descriptors_failed;
        if going_on && self.left > 0 && ended == 0 {
            self.run = Some(run);
            return;
        }
        self.fold();
        let scheduler = &self.shared.scheduler;
        match end {
            End::Event(Event::Empty) => scheduler.idle(run),
            End::Event(Event::Halted(halt)) => self.halt(run, halt),
            End::Event(Event::Finished { .. }) => {
                self.shared.signal(run.binding.vector);
                self.keep(run);
            }
            End::Event(Event::Going | Event::Pause) => self.keep(run),
            End::Fault(fault) => self.park(run, fault),
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

    /// Reports errors, unless a reset has come since: they were of the time before.
    fn report(&self, errors: u32) {
        let plane = self.shared.gate.look();
        if plane.epoch == self.epoch {
            self.shared.report(errors);
        }
    }

    /// Makes public what it has counted for itself: the shared counters are too
    /// hot to be touched in every section.
    fn fold(&mut self) {
        if self.tally.table_faults != 0 {
            self.report(ERR_TABLE);
        }
        self.shared.counters.fold(&mut self.tally);
    }

    fn park(&mut self, mut run: Box<Run>, fault: PageFault) {
        let (binding, group) = (run.binding, run.next_group());
        let window = self.shared.config.window;
        let mut ahead = Ahead::new(run.streams(), &fault, window);
        let mut records = vec![request(&binding, group, &fault, 0, ahead.extent(&fault))];
        while let Ok(true) = self.section(binding.pasid, |section| {
            ahead.look(section, &mut records, (&binding, group, window))
        }) {}
        self.fold();
        if self.shared.scheduler.park(run, group, fault) {
            self.post(Group::new(binding.queue, records));
        }
        self.shared.scheduler.posted(binding.queue, self.epoch);
    }

    fn halt(&mut self, run: Box<Run>, halt: Halt) {
        let binding = run.binding;
        if self.shared.scheduler.halt(run) {
            count(&self.shared.counters.queues_halted);
            self.post(Group::new(binding.queue, vec![halted(&binding, &halt)]));
        }
        self.shared.scheduler.posted(binding.queue, self.epoch);
    }

    fn post(&mut self, group: Group) {
        let shared = self.shared;
        let interrupt = {
            let plane = shared.gate.look();
            if plane.epoch != self.epoch {
                return;
            }
            shared.faults.lock().push(group);
            if plane.bus_master {
                shared.post_faults(&plane)
            } else {
                // It waits until bus mastering is back.
                shared.report(ERR_BUS_MASTER);
                false
            }
        };
        if interrupt {
            shared.signal(VECTOR_FAULT as u16);
        }
    }

    /// Does `work` in a section of `pasid`.
    fn section<R>(
        &mut self,
        pasid: u32,
        work: impl FnOnce(&mut Section<'_, 'm>) -> R,
    ) -> Result<R, Shut> {
        let shared = self.shared;
        let plane = shared.gate.pass(Some(self.epoch)).inspect_err(|shut| {
            if *shut == Shut::BusMaster {
                shared.report(ERR_BUS_MASTER);
            }
        })?;
        let log = (Spaces::index(pasid), shared.spaces.of(pasid).enter());
        let room = (&mut self.tlb, &self.memory);
        let mut section = Section::open(plane, log, room, &mut self.tally, pasid);
        let result = work(&mut section);
        drop(section);
        Ok(result)
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        self.fold();
        if let Some(run) = self.run.take() {
            self.shared.scheduler.requeue(run);
        }
    }
}

/// Runs a queue until the section is spent or something wants doing outside;
/// how that came, and what the section cost.
fn run_section(run: &mut Run, section: &mut Section<'_, '_>) -> (End, u64) {
    loop {
        let end = match run.advance(section) {
            Err(fault) => End::Fault(fault),
            Ok(Event::Going) => continue,
            Ok(event @ Event::Finished { status, interrupt }) => {
                section.count_descriptor(status == STATUS_OK);
                if !interrupt {
                    continue;
                }
                End::Event(event)
            }
            Ok(event) => End::Event(event),
        };
        return (end, section.cost());
    }
}
