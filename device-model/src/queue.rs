// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A user-mode queue: from the tail in its ring to the fence in its completion.
//!
//! RULE 2: *a process reaches only its own memory.* [`Binding`] is made from a
//! command of the driver and is the only source of the PASID; a descriptor has
//! no field for one.
//!
//! Ring, descriptors and completions are reached through the page table like
//! everything else, so each stage can fault. A stage that faults is repeated; the
//! stages are cut so that repeating one does nothing twice.

use crate::exec::{Ending, Flow, Operation, Stream, decode};
use crate::ring::Ring;
use crate::section::{PageFault, Section};
use crate::space::VA_END;
use farfault_abi::descriptor::{Completion, DESC_IRQ, Descriptor, STATUS_OK};
use farfault_abi::fault::{REASON_COMPLETION, REASON_RING};

/// What the driver bound a queue to.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    pub queue: u16,
    /// Address space of all it does.
    pub pasid: u32,
    /// Its ring, in virtual addresses.
    pub ring: Ring,
    /// MSI-X vector of its completions.
    pub vector: u16,
}

/// A queue at work: everything that must outlive a section.
pub struct Run {
    pub binding: Binding,
    /// Epoch of the device that it belongs to.
    pub epoch: u64,
    head: u32,
    groups: u32,
    stage: Stage,
}

enum Stage {
    /// Before the first descriptor: the head is to be read.
    Attach,
    /// Between descriptors.
    Fetch,
    /// A command in flight.
    Execute(Descriptor, Box<dyn Operation>),
    /// Its record is to be written.
    Complete(Descriptor, Completion),
    /// The head is to be moved past it.
    Advance(Descriptor, u32),
    /// The queue has to stop.
    Halt(Halt),
}

/// Why a queue stops for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    /// REASON value.
    pub reason: u32,
    /// The address it is about.
    pub address: u64,
}

/// What came of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEvent {
    /// On to the next.
    Going,
    /// The section is spent.
    Pause,
    /// The ring is empty.
    Empty,
    /// A descriptor is done and was given `status`; `interrupt` if it asked for one.
    Finished {
        /// STATUS value.
        status: u32,
        /// Whether it asked for an interrupt.
        interrupt: bool,
    },
    Halted(Halt),
    /// It does nothing any more until it is disabled.
    Stuck,
}

impl Run {
    /// A queue that starts from the head that its ring holds.
    pub fn new(binding: Binding, epoch: u64) -> Self {
        Self { binding, epoch, head: 0, groups: 0, stage: Stage::Attach }
    }

    /// Carries out one stage, or as much of it as the section allows.
    pub fn advance(&mut self, section: &mut Section<'_, '_>) -> Result<QueueEvent, PageFault> {
        if section.is_spent() {
            return Ok(QueueEvent::Pause);
        }
        let next = match &mut self.stage {
            Stage::Attach => {
                self.head = section.load_acquire(self.binding.ring.head())?;
                Stage::Fetch
            }
            Stage::Fetch => match self.fetch(section)? {
                Some(stage) => stage,
                None => return Ok(QueueEvent::Empty),
            },
            Stage::Execute(descriptor, command) => {
                let ending = match command.run(section)? {
                    Flow::More => return Ok(QueueEvent::Pause),
                    Flow::Stuck => return Ok(QueueEvent::Stuck),
                    Flow::Done => Ending { status: STATUS_OK, address: 0 },
                    Flow::Failed(ending) => ending,
                };
                complete(*descriptor, ending, command.done_and_result())
            }
            Stage::Complete(descriptor, completion) => {
                write_completion(section, descriptor.completion, completion)?;
                Stage::Advance(*descriptor, completion.status)
            }
            Stage::Advance(descriptor, status) => {
                let head = self.head.wrapping_add(1);
                section.store_release(self.binding.ring.head(), head)?;
                let interrupt = u32::from(descriptor.flags) & DESC_IRQ != 0;
                let finished = QueueEvent::Finished { status: *status, interrupt };
                self.head = head;
                self.stage = Stage::Fetch;
                return Ok(finished);
            }
            Stage::Halt(halt) => {
                // For the process to see, if its ring can still be reached; the driver is told anyhow.
                let _ = section.store_release(self.binding.ring.halted(), halt.reason);
                return Ok(QueueEvent::Halted(*halt));
            }
        };
        self.stage = next;
        Ok(QueueEvent::Going)
    }

    fn fetch(&self, section: &mut Section<'_, '_>) -> Result<Option<Stage>, PageFault> {
        let ring = &self.binding.ring;
        let tail = section.load_acquire(ring.tail())?;
        match ring.used(self.head, tail) {
            Err(_) => return Ok(Some(halt(REASON_RING, ring.base()))),
            Ok(0) => return Ok(None),
            Ok(_) => {}
        }
        let descriptor = Descriptor::from_bytes(&section.read(ring.entry(self.head))?);
        Ok(Some(match decode(&descriptor) {
            _ if !is_record(descriptor.completion) => {
                halt(REASON_COMPLETION, descriptor.completion)
            }
            Ok(command) => Stage::Execute(descriptor, command),
            Err(ending) => complete(descriptor, ending, (0, 0)),
        }))
    }

    /// Takes no for an answer to the `fault` it waits on: what is being done
    /// ends with `status`, or if the ring or a record was refused, the queue.
    pub fn refuse(&mut self, fault: &PageFault, status: u32) {
        let address = fault.address;
        self.stage = match &self.stage {
            Stage::Execute(descriptor, command) => {
                let ending = Ending { status, address };
                complete(*descriptor, ending, command.done_and_result())
            }
            Stage::Complete(..) => halt(REASON_COMPLETION, address),
            Stage::Attach | Stage::Fetch | Stage::Advance(..) => halt(REASON_RING, address),
            Stage::Halt(halt) => Stage::Halt(*halt),
        };
    }

    /// The ranges that the command in flight streams through.
    pub fn streams(&self) -> [Option<Stream>; 2] {
        match &self.stage {
            Stage::Execute(_, command) => command.streams(),
            _ => [None; 2],
        }
    }

    /// A number for the next fault group; never 0.
    pub fn next_group(&mut self) -> u32 {
        self.groups = self.groups.wrapping_add(1).max(1);
        self.groups
    }
}

fn halt(reason: u32, address: u64) -> Stage {
    Stage::Halt(Halt { reason, address })
}

fn is_record(address: u64) -> bool {
    address.is_multiple_of(Completion::SIZE as u64) && address < VA_END
}

fn complete(descriptor: Descriptor, ending: Ending, (done, result): (u64, u64)) -> Stage {
    let completion = Completion {
        fence: descriptor.fence,
        status: ending.status,
        fault_address: ending.address,
        result,
        done,
        ..Completion::default()
    };
    Stage::Complete(descriptor, completion)
}

/// Writes the record to `address`, the fence after all else; 0 is no record.
fn write_completion(
    section: &mut Section<'_, '_>,
    address: u64,
    completion: &Completion,
) -> Result<(), PageFault> {
    if address == 0 {
        return Ok(());
    }
    section.write(address + 8, &completion.to_bytes()[8..])?;
    section.store_release(address, completion.fence)
}
