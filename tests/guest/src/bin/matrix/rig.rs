// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device as a cell uses it: loads, stores and additions on bare addresses,
//! many at a time, and how many far faults they took.
#![allow(unsafe_code, reason = "gives the device addresses at which nothing may be")]

use crate::calls::{self, MAP_SHARED, READ_WRITE, Source, Span};
use crate::cpu::Cpu;
use crate::model::Access;
use farfault_client::raw::descriptor::{self as abi, Completion, Descriptor};
use farfault_client::raw::uapi::{PREFETCH_WRITE, Prefetch};
use farfault_client::raw::{DeviceFile, Kernel};
use farfault_guest_programs::memory::PAGE;
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::{Failure, commands, counters};
use std::sync::Arc;

/// Commands of one batch.
pub const BATCH: usize = 64;
/// Bytes of a load.
pub const LINE: u64 = 64;
/// Nanoseconds after which a command has got stuck.
const PATIENCE: u64 = 15_000_000_000;

/// How an access ended: with a value, or refused at an address.
pub type Answer = Result<u64, u64>;

/// What a batch gave, and what it cost.
pub struct Batch {
    pub answers: Vec<Answer>,
    pub faults: u64,
}

/// A context of this process, a queue for single accesses, and where loads go.
pub struct Rig {
    device: Arc<DeviceFile>,
    queue: RawQueue,
    /// Shared, so that a fork leaves it alone.
    landing: Span,
    cpu: Cpu,
}

impl Rig {
    pub fn new() -> Result<Self, Failure> {
        let device = raw_queue::open()?;
        let queue = RawQueue::new(&device, BATCH as u32)?;
        let length = BATCH as u64 * LINE;
        let landing = calls::map(length, PAGE as u64, READ_WRITE, MAP_SHARED, Source::Nothing)?;
        Ok(Self { device, queue, landing, cpu: Cpu::new()? })
    }

    /// Makes what the device needs for itself present, so that only faults on
    /// what is tested are counted.
    fn settle(&self) -> Result<(), Failure> {
        let slot = Descriptor::SIZE + Completion::SIZE;
        let length = 128 + (BATCH * slot) as u64;
        self.prefetch(Span { start: self.queue.ring.address(), length }, Access::Write)?;
        self.prefetch(self.landing, Access::Write)
    }

    /// Makes memory present for the device.
    pub fn prefetch(&self, span: Span, access: Access) -> Result<(), Failure> {
        let flags = if access == Access::Write { PREFETCH_WRITE } else { 0 };
        let request = Prefetch { address: span.start, length: span.length, flags, reserved: 0 };
        Ok(self.device.prefetch(&request).map_err(|errno| format!("PREFETCH: {errno}"))?)
    }

    fn run(&mut self, commands: &[Descriptor]) -> Result<(Vec<Completion>, u64), Failure> {
        self.settle()?;
        let before = counters::get("faults")?;
        // SAFETY: the commands name the landing and a subject, to which there are
        // no references, or addresses at which nothing is.
        let records = unsafe { self.queue.run_all(commands, deadline()?) }
            .map_err(|error| format!("{} commands of the device: {error}", commands.len()))?;
        Ok((records, counters::get("faults")? - before))
    }

    /// Loads of the word at each address; a line of 64 bytes is what moves.
    pub fn load(&mut self, addresses: &[u64]) -> Result<Batch, Failure> {
        let place = |line: usize| self.landing.start + line as u64 * LINE;
        let lines = addresses.iter().enumerate();
        let commands = lines.map(|(line, &source)| commands::copy(source, place(line), LINE));
        let (records, faults) = self.run(&commands.collect::<Vec<_>>())?;
        let mut answers = Vec::new();
        for (line, record) in records.iter().enumerate() {
            answers.push(answer(record, self.cpu.load(self.landing.start + line as u64 * LINE)?)?);
        }
        Ok(Batch { answers, faults })
    }

    /// The whole page at `address`, as the device reads it.
    pub fn page(&mut self, address: u64) -> Result<[u8; PAGE], Failure> {
        let command = commands::copy(address, self.landing.start, PAGE as u64);
        let (records, _) = self.run(&[command])?;
        match answer(&records[0], 0)? {
            Ok(_) => Ok(self.cpu.page(self.landing.start)?),
            Err(at) => Err(format!("the page at {address:#x} is refused at {at:#x}").into()),
        }
    }

    pub fn store(&mut self, words: &[(u64, u64)]) -> Result<Batch, Failure> {
        let commands = words.iter().map(|&(place, word)| commands::store(place, word));
        let (records, faults) = self.run(&commands.collect::<Vec<_>>())?;
        let answers = records.iter().map(|record| answer(record, 0)).collect::<Result<_, _>>()?;
        Ok(Batch { answers, faults })
    }

    /// Atomic additions; they give what was there before.
    pub fn add(&mut self, addresses: &[u64], operand: u64) -> Result<Batch, Failure> {
        let commands = addresses.iter().map(|&place| commands::add(place, operand));
        let (records, faults) = self.run(&commands.collect::<Vec<_>>())?;
        let answers = records.iter().map(|record| answer(record, record.result));
        Ok(Batch { answers: answers.collect::<Result<_, _>>()?, faults })
    }

    /// Starts loads that nobody waits for.
    pub fn abandon(&mut self, addresses: &[u64]) {
        for &source in addresses {
            // SAFETY: it only reads.
            unsafe { self.queue.submit(&commands::word_count(source, 8)) };
        }
    }

    pub fn device(&self) -> &Arc<DeviceFile> {
        &self.device
    }
}

/// How the command of `record` ended, if it gives `value`.
pub fn answer(record: &Completion, value: u64) -> Result<Answer, Failure> {
    match record.status {
        abi::STATUS_OK => Ok(Ok(value)),
        abi::STATUS_FAULT => Ok(Err(record.fault_address)),
        status => Err(format!("the device answered with status {status}").into()),
    }
}

/// By when what begins now must be over: else it has got stuck.
pub fn deadline() -> Result<u64, Failure> {
    Ok(raw_queue::now()? + PATIENCE)
}
