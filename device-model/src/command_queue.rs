// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command processor: what the driver tells the device, one after another.
//!
//! A command is done before the next begins: INVALIDATE returns from the
//! address space's write guard (RULE 1), QUEUE_DISABLE waits until no engine has
//! to do with the queue. So a WAIT speaks for everything before it.

use crate::counters::count;
use crate::dma::{Permits, Unreachable};
use crate::engine::Step;
use crate::gate::{Plane, Shut};
use crate::queue::Binding;
use crate::ram::Dma;
use crate::refusal::{Deferred, Refusal, RefusalCause};
use crate::ring::{Ring, Wild};
use crate::scheduler::Response;
use crate::shared::Shared;
use crate::space::{Range, VA_END};
use crate::walk::PAGE;
use farfault_abi::command::{
    CMD_COUNT_ACCESSES, CMD_INVALIDATE, CMD_PAGE_RESPONSE, CMD_QUEUE_DISABLE, CMD_QUEUE_ENABLE,
    CMD_WAIT, Command, RESPONSE_FAIL, RESPONSE_NO_ATOMIC, RESPONSE_NO_MEMORY, WAIT_IRQ,
};
use farfault_abi::descriptor::{Descriptor, STATUS_FAULT, STATUS_NO_ATOMIC, STATUS_NO_MEMORY};
use farfault_abi::pci::{QUEUES, VECTOR_COMMAND, VECTOR_QUEUE, VECTORS};
use farfault_abi::regs::PASID_BITS;
use std::sync::atomic::Ordering;
use vm_memory::{AtomicAccess, Bytes};

/// The device's side of the command queue.
#[derive(Default)]
pub struct CommandQueue {
    /// Epoch that `head` is of.
    epoch: u64,
    head: Option<u32>,
}

/// What a command came to.
enum Outcome {
    Done,
    /// Done, with an interrupt to send.
    Interrupt,
    /// To be tried again when an engine has let go of its queue.
    Waiting,
    /// Skipped.
    Wrong(Refusal),
}

impl CommandQueue {
    /// Carries out one command, after whatever faults waited for room.
    pub fn step(&mut self, shared: &Shared) -> Step {
        let mut deferred = Deferred::default();
        let step = match shared.gate.pass(None) {
            Ok(plane) => {
                shared.post_faults(&plane, &mut deferred);
                self.next(shared, &plane, &mut deferred)
            }
            Err(shut) => {
                if shut == Shut::BusMaster {
                    let refusal = shared.refuse(Refusal::new(RefusalCause::BusMaster));
                    deferred.refusals.push(refusal);
                }
                Step::Idle
            }
        };
        shared.settle(&deferred);
        step
    }

    fn next(&mut self, shared: &Shared, plane: &Plane, deferred: &mut Deferred) -> Step {
        if self.epoch != plane.epoch {
            *self = Self { epoch: plane.epoch, head: None };
        }
        let ring = &plane.setup.commands;
        let (head, command) = match self.fetch(&plane.memory, ring) {
            Ok(Some(found)) => found,
            Ok(None) => return Step::Idle,
            Err(refusal) => {
                deferred.refusals.push(shared.refuse(refusal));
                return Step::Idle;
            }
        };
        match execute(shared, plane, &command) {
            Outcome::Waiting => return Step::Waiting,
            Outcome::Done => count(&shared.counters.commands),
            Outcome::Interrupt => {
                count(&shared.counters.commands);
                deferred.interrupts.push(VECTOR_COMMAND);
            }
            Outcome::Wrong(refusal) => {
                count(&shared.counters.commands_bad);
                deferred.refusals.push(shared.refuse(refusal));
            }
        }
        let head = head.wrapping_add(1);
        self.head = Some(head);
        if let Err(refusal) = store(&plane.memory, ring.head(), head) {
            deferred.refusals.push(shared.refuse(refusal));
        }
        Step::Worked
    }

    /// The command at the head and the head, if there is one.
    fn fetch(&mut self, memory: &Dma, ring: &Ring) -> Result<Option<(u32, Command)>, Refusal> {
        let slice =
            |address, bytes| memory.reach(address, bytes, Permits::READ).map_err(unreachable);
        // It is there, and a ring is aligned.
        let word = |address| Ok(slice(address, 4)?.load(0, Ordering::Acquire).unwrap_or(0));
        let head = self.head.map_or_else(|| word(ring.head()), Ok)?;
        self.head = Some(head);
        let wild = |Wild| Refusal::at(RefusalCause::CommandRing, ring.tail());
        if ring.used(head, word(ring.tail())?).map_err(wild)? == 0 {
            return Ok(None);
        }
        let mut bytes = [0; Command::SIZE];
        slice(ring.entry(head), Command::SIZE as u64)?.copy_to(&mut bytes);
        Ok(Some((head, Command::from_bytes(&bytes))))
    }
}

fn unreachable(memory: Unreachable) -> Refusal {
    Refusal::unreachable(RefusalCause::CommandRing, memory)
}

/// Stores an aligned word behind all that was written before it.
fn store<T: AtomicAccess>(memory: &Dma, address: u64, value: T) -> Result<(), Refusal> {
    let word = memory.reach(address, size_of::<T>() as u64, Permits::WRITE).map_err(unreachable)?;
    let misaligned = |_| Refusal::at(RefusalCause::CommandRing, address);
    word.store(value, 0, Ordering::Release).map_err(misaligned)
}

fn execute(shared: &Shared, plane: &Plane, command: &Command) -> Outcome {
    let result = match u32::from(command.opcode) {
        CMD_INVALIDATE => invalidate(shared, command),
        CMD_PAGE_RESPONSE => respond(shared, command),
        CMD_WAIT => wait(shared, plane, command),
        CMD_QUEUE_ENABLE => enable(shared, plane, command),
        CMD_QUEUE_DISABLE => disable(shared, command),
        CMD_COUNT_ACCESSES => count_accesses(shared, command),
        _ => None,
    };
    result.unwrap_or(Outcome::Wrong(Refusal {
        queue: Some(command.queue),
        pasid: Some(command.pasid),
        ..Refusal::at(RefusalCause::Command { opcode: command.opcode }, command.address)
    }))
}

fn invalidate(shared: &Shared, command: &Command) -> Option<Outcome> {
    let (pasid, start, length) = (command.pasid, command.address, command.value);
    let end = start.checked_add(length)?;
    if pasid >> PASID_BITS != 0 || start % PAGE != 0 || length % PAGE != 0 {
        return None;
    }
    let range = match length {
        0 => Range { pasid, start: 0, last: VA_END - 1 },
        // There are no translations beyond the address space.
        _ => Range { pasid, start: start.min(VA_END - 1), last: end.min(VA_END) - 1 },
    };
    shared.spaces.of(pasid).invalidate(range);
    count(&shared.counters.invalidations);
    Some(Outcome::Done)
}

fn respond(shared: &Shared, command: &Command) -> Option<Outcome> {
    let group = u32::try_from(command.value).ok()?;
    let refusal = match u32::from(command.flags) {
        0 => None,
        RESPONSE_FAIL => Some(STATUS_FAULT),
        flags if flags == RESPONSE_FAIL | RESPONSE_NO_MEMORY => Some(STATUS_NO_MEMORY),
        flags if flags == RESPONSE_FAIL | RESPONSE_NO_ATOMIC => Some(STATUS_NO_ATOMIC),
        _ => return None,
    };
    if u32::from(command.queue) >= QUEUES {
        return None;
    }
    let counters = &shared.counters;
    match (shared.scheduler.respond(command.queue, group, refusal), refusal) {
        (Response::Stale, _) => count(&counters.responses_stale),
        (Response::Taken, None) => count(&counters.responses_resume),
        (Response::Taken, Some(_)) => count(&counters.responses_fail),
    }
    Some(Outcome::Done)
}

fn wait(shared: &Shared, plane: &Plane, command: &Command) -> Option<Outcome> {
    let flags = u32::from(command.flags);
    if !command.address.is_multiple_of(8) || flags & !WAIT_IRQ != 0 {
        return None;
    }
    if let Err(refusal) = store(&plane.memory, command.address, command.value) {
        return Some(Outcome::Wrong(refusal));
    }
    count(&shared.counters.waits);
    Some(if flags & WAIT_IRQ != 0 { Outcome::Interrupt } else { Outcome::Done })
}

fn enable(shared: &Shared, plane: &Plane, command: &Command) -> Option<Outcome> {
    let vectors = u64::from(VECTOR_QUEUE)..u64::from(VECTORS);
    let ring = Ring::new(command.address, command.value, Descriptor::SIZE)?;
    if !vectors.contains(&command.extra) || command.pasid >= plane.setup.contexts.entries {
        return None;
    }
    let (queue, pasid, vector) = (command.queue, command.pasid, command.extra as u16);
    let binding = Binding { queue, pasid, ring, vector };
    shared.scheduler.enable(binding, plane.epoch).then_some(Outcome::Done)
}

fn count_accesses(shared: &Shared, command: &Command) -> Option<Outcome> {
    let pasid = command.pasid;
    if pasid >> PASID_BITS != 0 {
        return None;
    }
    shared.spaces.of(pasid).count_accesses(pasid, command.value);
    Some(Outcome::Done)
}

fn disable(shared: &Shared, command: &Command) -> Option<Outcome> {
    if u32::from(command.queue) >= QUEUES {
        return None;
    }
    let free = shared.scheduler.disable(command.queue);
    shared.faults.lock().forget(command.queue);
    Some(if free { Outcome::Done } else { Outcome::Waiting })
}
