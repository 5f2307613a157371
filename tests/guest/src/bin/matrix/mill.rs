// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands that the device repeats of its own accord, until it is to stop.
//!
//! The last command of the ring adds a lap to the ring's own tail. So the device goes
//! on while this process forks, or is in a system call, and nobody has to feed it.
#![allow(unsafe_code, reason = "gives the device addresses at which nothing may be")]

use crate::cpu::Cpu;
use crate::rig::deadline;
use farfault_client::raw::DeviceFile;
use farfault_client::raw::descriptor::{Completion, Descriptor};
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::{Failure, commands};
use std::sync::Arc;

/// Each record's fence, whatever the lap.
const FENCE: u64 = 1;

/// A ring in which the device goes round.
pub struct Mill {
    queue: RawQueue,
    commands: u32,
    cpu: Cpu,
}

impl Mill {
    /// Has each of `commands` done once, to which the given records belong.
    pub fn new(
        device: &Arc<DeviceFile>,
        commands: &[Descriptor],
    ) -> Result<(Self, Vec<Completion>), Failure> {
        let entries = slots(commands.len());
        let mill = Self {
            queue: RawQueue::new(device, entries)?,
            commands: commands.len() as u32,
            cpu: Cpu::new()?,
        };
        let ring = &mill.queue.ring;
        for index in 0..entries - 1 {
            let command = commands.get(index as usize).copied().unwrap_or_else(commands::nop);
            let completion = ring.record_address(index);
            ring.write(index, &Descriptor { completion, fence: FENCE, ..command });
        }
        mill.let_go_on(0);
        mill.queue.set_tail(entries);
        mill.await_head(entries)?;
        let records = mill.records()?;
        Ok((mill, records))
    }

    /// Has them done again and again.
    pub fn start(&self) {
        let entries = self.queue.ring.entries();
        self.let_go_on(entries);
        self.queue.set_tail(2 * entries);
    }

    /// How often at least each command has been done.
    pub fn laps(&self) -> u64 {
        u64::from(self.queue.ring.head() / self.queue.ring.entries())
    }

    /// Returns when each command has begun and ended once more.
    pub fn go_round(&self) -> Result<(), Failure> {
        let entries = self.queue.ring.entries();
        let laps = self.queue.ring.head().div_ceil(entries);
        self.await_head((laps + 1) * entries)
    }

    /// Ends it at the end of a lap, and gives the records of that.
    pub fn stop(&self) -> Result<Vec<Completion>, Failure> {
        self.let_go_on(0);
        let deadline = deadline()?;
        // The tail is read last: it goes on before the head comes to where it was.
        while self.queue.ring.head() != self.tail()? {
            self.may_go_on(deadline)?;
        }
        self.records()
    }

    /// Has the ring's last command add so much to the tail, each time.
    fn let_go_on(&self, operand: u32) {
        let ring = &self.queue.ring;
        // Beside the tail is a word that only other rings use.
        ring.write(ring.entries() - 1, &commands::add(ring.address(), operand.into()));
    }

    fn tail(&self) -> Result<u32, Failure> {
        Ok(self.cpu.load(self.queue.ring.address())? as u32)
    }

    fn await_head(&self, head: u32) -> Result<(), Failure> {
        let deadline = deadline()?;
        while self.queue.ring.head() < head {
            self.may_go_on(deadline)?;
        }
        Ok(())
    }

    fn may_go_on(&self, deadline: u64) -> Result<(), Failure> {
        if self.queue.ring.is_halted() || raw_queue::now()? > deadline {
            let head = self.queue.ring.head();
            return Err(format!("the commands under way have got stuck at {head}").into());
        }
        std::thread::yield_now();
        Ok(())
    }

    fn records(&self) -> Result<Vec<Completion>, Failure> {
        let record = |index| self.queue.ring.record(index, FENCE);
        let records: Option<Vec<_>> = (0..self.commands).map(record).collect();
        Ok(records.ok_or("a command under way has left no record")?)
    }
}

/// Entries of the ring for so many commands, and the one that goes on.
fn slots(commands: usize) -> u32 {
    (commands as u32 + 1).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::slots;

    #[test]
    fn there_is_room_for_the_command_that_goes_on() {
        assert_eq!([1, 7, 8, 16].map(slots), [2, 8, 16, 32]);
    }
}
