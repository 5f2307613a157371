// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A process with two buffers, a queue and a completion record.

use farfault_abi::command::{CMD_PAGE_RESPONSE, Command};
use farfault_abi::descriptor::*;
use farfault_abi::fault::Fault;
use farfault_device_model::{Counters, DeviceConfig, Engine, Step};
use farfault_reference_driver::{Driver, FakeMachine, Oracle, PAGE, Pages, Queue, with_engines};
use std::iter;
use std::sync::Arc;

/// What commands read.
pub const SOURCE: u64 = 0x100_0000;
/// What they write.
pub const DESTINATION: u64 = 0x200_0000;
/// Where their records go.
pub const RECORD: u64 = 0x30_0000;
/// Where the ring of queue n is, a MiB each.
pub const RINGS: u64 = 0x4000_0000;
/// Pages of either buffer.
pub const PAGES: u64 = 40;

/// The process, PASID 1, with queue 0.
pub struct World {
    pub driver: Driver,
    pub queue: Queue,
    fences: u64,
}

/// A command on the buffers.
pub fn command(opcode: u32, length: u64) -> Descriptor {
    let (source, destination) = (SOURCE, DESTINATION);
    let operand = match opcode {
        OP_SAXPY => u64::from(1.5f32.to_bits()),
        OP_CHASE => 8,
        _ => 0x0807_0605_0403_0201,
    };
    let opcode = opcode as u8;
    Descriptor { opcode, source, destination, length, operand, ..Descriptor::default() }
}

impl World {
    /// Nothing of the memory is known to the device.
    pub fn new(config: DeviceConfig) -> Self {
        Self::on(Driver::start(config))
    }

    /// The same in a driver that is already there.
    pub fn on(mut driver: Driver) -> Self {
        populate(&mut driver, 1);
        let queue = driver.create_queue(0, 1, RINGS, 16);
        driver.settle();
        Self { driver, queue, fences: 0 }
    }

    /// The same behind an IOMMU whose DMA addresses are `shift` away from physical ones,
    /// with all memory present.
    pub fn behind_iommu(config: DeviceConfig, shift: u64) -> (Self, Arc<Pages>) {
        let iommu = Pages::new(shift);
        let machine = FakeMachine::behind(Some(iommu.clone()), &[(0, 64 << 20)]);
        let mut world = Self::on(Driver::start_with(config, machine, 1024));
        world.map_all();
        (world, iommu)
    }

    /// The same with all memory present.
    pub fn mapped(config: DeviceConfig) -> Self {
        let mut world = Self::new(config);
        world.map_all();
        world
    }

    /// Another queue of the process.
    pub fn add_queue(&mut self, number: u16) -> Queue {
        let queue = self.driver.create_queue(number, 1, RINGS + (u64::from(number) << 20), 16);
        self.driver.settle();
        queue
    }

    /// Makes all memory present.
    pub fn map_all(&mut self) {
        for va in self.driver.space(1).pages().collect::<Vec<_>>() {
            self.driver.map(1, va, PAGE, true);
        }
    }

    pub fn counters(&self) -> Counters {
        self.driver.device.counters()
    }

    pub fn record(&self) -> Completion {
        self.driver.completion(1, RECORD)
    }

    /// Submits a command with the next fence and the usual record.
    pub fn submit(&mut self, command: Descriptor) -> Descriptor {
        self.fences += 1;
        let descriptor = Descriptor { completion: RECORD, fence: self.fences, ..command };
        self.driver.submit(&self.queue, descriptor);
        descriptor
    }

    /// Runs a command, serving all faults.
    pub fn run(&mut self, command: Descriptor) -> Completion {
        let descriptor = self.submit(command);
        self.driver.settle();
        let record = self.record();
        assert_eq!(record.fence, descriptor.fence, "not completed: {descriptor:?}");
        record
    }

    /// Runs a command on the device and on the oracle and compares everything.
    pub fn check(&mut self, command: Descriptor) -> Completion {
        let descriptor = self.submit(command);
        let mut oracle = Oracle::new(&self.driver.machine, self.driver.space(1));
        let expected = oracle.carry_out(&descriptor);
        self.driver.settle();
        assert_eq!(self.record(), expected, "{descriptor:?}");
        // The device moves the head of the ring, which the oracle does not know of.
        let mut after = Oracle::new(&self.driver.machine, self.driver.space(1));
        after.forget(self.queue.ring.base);
        oracle.forget(self.queue.ring.base);
        assert!(after == oracle, "memory differs after {descriptor:?}");
        expected
    }

    /// Whether the first bytes of the buffers are the same.
    pub fn is_copied(&self, bytes: u64) -> bool {
        self.driver.read(1, DESTINATION, bytes) == self.driver.read(1, SOURCE, bytes)
    }

    /// Answers a fault group of the queue with each of these flags in turn.
    pub fn answer(&self, group: u32, flags: &[u32]) {
        for flags in flags {
            self.driver.command(Command {
                opcode: CMD_PAGE_RESPONSE as u8,
                flags: *flags as u8,
                value: group.into(),
                ..Command::default()
            });
        }
    }

    /// Runs an engine as far as it goes, and gives the faults that there are then.
    pub fn faults(&mut self) -> Vec<Fault> {
        self.with_engine(|world, engine| {
            exhaust(engine);
            world.driver.take_faults()
        })
    }

    /// All fault records there are, also those that find room only when others are taken.
    pub fn all_faults(&self) -> Vec<Fault> {
        let some = || Some(self.driver.take_faults()).filter(|records| !records.is_empty());
        iter::from_fn(some).inspect(|_| _ = commands(self)).flatten().collect()
    }

    /// Has the command processor and then an engine do all they can; how often the latter
    /// had something to do.
    pub fn turn(&self, engine: &mut Engine<'_>) -> usize {
        commands(self);
        exhaust(engine)
    }

    /// Calls `body` with the driver and engines.
    pub fn with_engines<R>(
        &mut self,
        engines: usize,
        body: impl FnOnce(&mut Self, &mut [Engine<'_>]) -> R,
    ) -> R {
        let device = self.driver.device.clone();
        with_engines(&device, engines, |engines| body(self, engines))
    }

    /// Calls `body` with the driver and one engine.
    pub fn with_engine<R>(&mut self, body: impl FnOnce(&mut Self, &mut Engine<'_>) -> R) -> R {
        self.with_engines(1, |world, engines| body(world, &mut engines[0]))
    }
}

/// A device that asks for at most so many pages at a time.
pub fn lookahead(lookahead: u32) -> DeviceConfig {
    DeviceConfig { lookahead, ..DeviceConfig::default() }
}

/// Makes a process with the two buffers and room for records.
pub fn populate(driver: &mut Driver, pasid: u32) {
    driver.create_space(pasid);
    driver.allocate(pasid, RECORD, PAGE, PAGE);
    for (base, factor) in [(SOURCE, 7), (DESTINATION, 13)] {
        driver.allocate(pasid, base, PAGES * PAGE, PAGE);
        let data: Vec<u8> = (0..PAGES * PAGE).map(|i| (i * factor / 5 + i / 251) as u8).collect();
        driver.write(pasid, base, &data);
    }
}

/// Steps an engine until it has nothing to do; how often it had.
pub fn exhaust(engine: &mut Engine<'_>) -> usize {
    (0..1_000_000).take_while(|_| engine.step() == Step::Worked).count()
}

/// Has the command processor do all it can.
pub fn commands(world: &World) -> usize {
    (0..1_000_000).take_while(|_| world.driver.device.step_commands() == Step::Worked).count()
}
