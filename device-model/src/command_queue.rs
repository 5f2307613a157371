// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command processor: what the driver tells the device, one after another.
//!
//! A command is done before the next begins: INVALIDATE returns from the
//! address space's write guard (RULE 1), QUEUE_DISABLE waits until no engine has
//! to do with the queue. So a WAIT speaks for everything before it.

use std::sync::atomic::Ordering;

use farfault_abi::command::{
    CMD_INVALIDATE, CMD_PAGE_RESPONSE, CMD_QUEUE_DISABLE, CMD_QUEUE_ENABLE, CMD_WAIT, Command,
    RESPONSE_FAIL, RESPONSE_NO_MEMORY, WAIT_IRQ,
};
use farfault_abi::descriptor::{Descriptor, STATUS_FAULT, STATUS_NO_MEMORY};
use farfault_abi::pci::{QUEUES, VECTOR_COMMAND, VECTOR_FAULT, VECTOR_QUEUE, VECTORS};
use farfault_abi::regs::{ERR_BUS_MASTER, ERR_COMMAND, ERR_COMMAND_RING, PASID_BITS};
use vm_memory::Bytes;

use crate::counters::count;
use crate::engine::Step;
use crate::gate::{Plane, Shut};
use crate::platform::Permits;
use crate::queue::Binding;
use crate::ram::Dma;
use crate::ring::Ring;
use crate::scheduler::Response;
use crate::shared::Shared;
use crate::space::{Range, VA_END};
use crate::walk::PAGE;

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
    /// Skipped; ERR bits.
    Wrong(u32),
}

impl CommandQueue {
    /// Carries out one command, after whatever faults waited for room.
    pub fn step(&mut self, shared: &Shared) -> Step {
        let (step, interrupts) = match shared.gate.pass(None) {
            Ok(plane) => {
                let fault = shared.post_faults(&plane).then_some(VECTOR_FAULT);
                let (step, interrupt) = self.next(shared, &plane);
                (step, [fault, interrupt])
            }
            Err(shut) => {
                if shut == Shut::BusMaster {
                    shared.report(ERR_BUS_MASTER);
                }
                return Step::Idle;
            }
        };
        for vector in interrupts.into_iter().flatten() {
            shared.signal(vector as u16);
        }
        step
    }

    fn next(&mut self, shared: &Shared, plane: &Plane) -> (Step, Option<u32>) {
        if self.epoch != plane.epoch {
            *self = Self { epoch: plane.epoch, head: None };
        }
        let Ok(found) = self.fetch(&plane.memory, &plane.setup.commands) else {
            shared.report(ERR_COMMAND_RING);
            return (Step::Idle, None);
        };
        let Some((head, command)) = found else { return (Step::Idle, None) };
        let outcome = execute(shared, plane, &command);
        match outcome {
            Outcome::Waiting => return (Step::Waiting, None),
            Outcome::Done | Outcome::Interrupt => count(&shared.counters.commands),
            Outcome::Wrong(error) => {
                shared.report(error);
                count(&shared.counters.commands_bad);
            }
        }
        let head = head.wrapping_add(1);
        self.head = Some(head);
        let word = plane.memory.touch(plane.setup.commands.head(), 4, Permits::WRITE);
        if word.is_none_or(|word| word.store(head, 0, Ordering::Release).is_err()) {
            shared.report(ERR_COMMAND_RING);
        }
        (Step::Worked, matches!(outcome, Outcome::Interrupt).then_some(VECTOR_COMMAND))
    }

    /// The command at the head and the head, if there is one.
    fn fetch(&mut self, memory: &Dma, ring: &Ring) -> Result<Option<(u32, Command)>, ()> {
        let slice = |address, bytes| memory.touch(address, bytes, Permits::READ).ok_or(());
        let word = |address| slice(address, 4)?.load::<u32>(0, Ordering::Acquire).map_err(|_| ());
        let head = self.head.map_or_else(|| word(ring.head()), Ok)?;
        self.head = Some(head);
        let tail = word(ring.tail())?;
        if ring.used(head, tail).map_err(|_| ())? == 0 {
            return Ok(None);
        }
        let mut bytes = [0; Command::SIZE];
        slice(ring.entry(head), Command::SIZE as u64)?.copy_to(&mut bytes);
        Ok(Some((head, Command::from_bytes(&bytes))))
    }
}

fn execute(shared: &Shared, plane: &Plane, command: &Command) -> Outcome {
    let result = match u32::from(command.opcode) {
        CMD_INVALIDATE => invalidate(shared, command),
        CMD_PAGE_RESPONSE => respond(shared, command),
        CMD_WAIT => wait(shared, plane, command),
        CMD_QUEUE_ENABLE => enable(shared, plane, command),
        CMD_QUEUE_DISABLE => disable(shared, command),
        _ => None,
    };
    result.unwrap_or(Outcome::Wrong(ERR_COMMAND))
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
    let word = plane.memory.touch(command.address, 8, Permits::WRITE);
    if word.is_none_or(|word| word.store(command.value, 0, Ordering::Release).is_err()) {
        return Some(Outcome::Wrong(ERR_COMMAND_RING));
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

fn disable(shared: &Shared, command: &Command) -> Option<Outcome> {
    if u32::from(command.queue) >= QUEUES {
        return None;
    }
    let free = shared.scheduler.disable(command.queue);
    shared.faults.lock().forget(command.queue);
    Some(if free { Outcome::Done } else { Outcome::Waiting })
}
