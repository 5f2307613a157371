// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's side: its memory, its driver, and a program with a queue.

use super::act::{Act, UNMAPPED};
use super::memory::MEMORY;
use farfault_abi::command::Command;
use farfault_abi::descriptor::Descriptor;
use farfault_abi::pci::DOORBELL_COMMAND;
use farfault_device_model::Device;
use farfault_reference_driver::{Driver, PAGE, Queue, RingPlace};
use nix::unistd::ftruncate;
use std::os::fd::OwnedFd;

/// The driver and the program in the guest.
pub struct Guest<'w> {
    pub driver: &'w Driver,
    pub queue: &'w Queue,
    pub other: &'w OwnedFd,
}

impl Guest<'_> {
    /// Does its part; whether this was one.
    pub fn act(&self, device: &Device, act: &Act) -> bool {
        let machine = &self.driver.machine;
        match *act {
            Act::Poke { address, value } => {
                machine.write(u64::from(address) % (MEMORY - 8), &value.to_le_bytes());
            }
            Act::Command { opcode, flags, queue, pasid, address, value, extra } => {
                let command = Command {
                    opcode: opcode % 8,
                    flags,
                    queue: queue.into(),
                    pasid: pasid.into(),
                    address: address.number(),
                    value: value.number(),
                    extra: extra.into(),
                };
                self.push(self.driver.commands, |address| address, &command.to_bytes());
                device.doorbell(DOORBELL_COMMAND.into());
            }
            Act::Submit { opcode, flags, source, destination, length, operand } => {
                let descriptor = Descriptor {
                    opcode: opcode % 12,
                    flags,
                    source: source.number(),
                    destination: destination.number(),
                    length: length.number(),
                    operand,
                    operand2: operand % PAGE,
                    completion: UNMAPPED + 15 * PAGE,
                    fence: 1,
                    ..Descriptor::default()
                };
                let physical = |va| self.driver.space(self.queue.pasid).physical(va);
                self.push(self.queue.ring, physical, &descriptor.to_bytes());
                device.doorbell(self.queue.number.into());
            }
            // It grows no more.
            Act::Cut => drop(ftruncate(self.other, PAGE as i64)),
            _ => return false,
        }
        true
    }

    /// Adds an entry to a ring, whatever is in its header.
    fn push(&self, ring: RingPlace, physical: impl Fn(u64) -> u64, entry: &[u8]) {
        let machine = &self.driver.machine;
        let tail_word = physical(ring.tail());
        let tail = machine.load32(tail_word);
        machine.write(physical(ring.entry(tail)), entry);
        machine.store32(tail_word, tail.wrapping_add(1));
    }
}
