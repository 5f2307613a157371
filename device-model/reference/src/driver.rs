// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The driver: sets the device up, feeds its queues, serves its faults.

use crate::machine::{FakeMachine, Frames, PAGE};
use crate::ring::RingPlace;
use crate::space::AddressSpace;
use farfault_abi::command::{
    CMD_INVALIDATE, CMD_PAGE_RESPONSE, CMD_QUEUE_DISABLE, CMD_QUEUE_ENABLE, CMD_WAIT, Command,
    RESPONSE_FAIL,
};
use farfault_abi::context::{CONTEXT_VALID, Context};
use farfault_abi::descriptor::{Completion, Descriptor};
use farfault_abi::fault::{
    ACCESS_ATOMIC, ACCESS_WRITE, FAULT_LAST, FAULT_LOOKAHEAD, FAULT_PAGE_REQUEST, Fault,
};
use farfault_abi::pci::{DOORBELL_COMMAND, VECTOR_QUEUE};
use farfault_abi::pte::PTE_ATOMIC;
use farfault_abi::regs::{
    CTRL_ENABLE, REG_COMMAND_BASE, REG_COMMAND_ENTRIES, REG_CONTEXT_BASE, REG_CONTEXT_ENTRIES,
    REG_CTRL, REG_FAULT_BASE, REG_FAULT_ENTRIES, REG_STATUS, STATUS_READY,
};
use farfault_device_model::{Device, DeviceConfig, Engine, Step};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use vm_memory::GuestMemoryBackend;

/// What to do about a fault group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Make its pages present, as far as they can be, and resume.
    Serve,
    /// Refuse it.
    Fail,
    /// Say nothing now.
    Keep,
}

/// How a driver reaches a device.
pub trait Bus: Send + Sync {
    /// Reads registers.
    fn read(&self, offset: u64, data: &mut [u8]);
    /// Writes registers.
    fn write(&self, offset: u64, data: &[u8]);
    /// Rings a doorbell.
    fn doorbell(&self, page: u64);
    /// Switches bus mastering.
    fn set_bus_master(&self, on: bool);
}

impl Bus for Device {
    fn read(&self, offset: u64, data: &mut [u8]) {
        Device::read(self, offset, data);
    }
    fn write(&self, offset: u64, data: &[u8]) {
        Device::write(self, offset, data);
    }
    fn doorbell(&self, page: u64) {
        Device::doorbell(self, page);
    }
    fn set_bus_master(&self, on: bool) {
        Device::set_bus_master(self, on);
    }
}

/// A user-mode queue of a process.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Its number.
    pub number: u16,
    /// Its process.
    pub pasid: u32,
    /// Its ring, in the process's memory.
    pub ring: RingPlace,
}

/// The driver and all it knows.
pub struct Driver {
    /// The machine.
    pub machine: Arc<FakeMachine>,
    /// The device.
    pub device: Arc<Device>,
    /// The way to its registers.
    bus: Arc<dyn Bus>,
    /// Frames that are free.
    pub frames: Frames,
    /// Processes by PASID.
    pub spaces: BTreeMap<u32, AddressSpace>,
    /// The command queue.
    pub commands: RingPlace,
    /// The fault queue.
    pub faults: RingPlace,
    /// The context table.
    pub contexts: u64,
    /// Where waits are stored.
    pub fence: u64,
    waits: u64,
}

const CONTEXTS: u32 = 1 << 16;

impl Driver {
    /// A device of 64 MiB with a fault queue of 1024 entries, enabled.
    pub fn start(config: DeviceConfig) -> Self {
        Self::start_sized(config, 64 << 20, 1024)
    }

    /// A device of `bytes` with a fault queue of `faults` entries, enabled.
    pub fn start_sized(config: DeviceConfig, bytes: u64, faults: u32) -> Self {
        Self::start_with(config, FakeMachine::new(&[(0, bytes as usize)]), faults)
    }

    /// A device in `machine`, whose memory has no holes.
    pub fn start_with(config: DeviceConfig, machine: Arc<FakeMachine>, faults: u32) -> Self {
        let device = Device::new(config, machine.clone()).expect("a valid configuration");
        Self::start_over(device.clone(), device, machine, faults)
    }

    /// The same for a device that is there already, and is reached by `bus`.
    pub fn start_over(
        device: Arc<Device>,
        bus: Arc<dyn Bus>,
        machine: Arc<FakeMachine>,
        faults: u32,
    ) -> Self {
        let mut frames = Frames::new(1 << 20, machine.memory().last_addr().0 + 1);
        let mut ring = |entries: u32, entry_size: usize| {
            let mut ring = RingPlace { base: 0, entries, entry_size };
            ring.base = frames.take(ring.bytes().next_power_of_two().max(PAGE));
            ring
        };
        let (commands, faults) = (ring(4096, Command::SIZE), ring(faults, Fault::SIZE));
        let contexts = frames.take(u64::from(CONTEXTS) * Context::SIZE as u64);
        let fence = frames.take(PAGE);
        let spaces = BTreeMap::new();
        let mut driver = Self {
            machine,
            device,
            bus,
            frames,
            spaces,
            commands,
            faults,
            contexts,
            fence,
            waits: 0,
        };
        driver.enable();
        driver
    }

    /// Sets the device up and enables it, as after a reset.
    pub fn enable(&mut self) {
        self.set_up();
        assert_eq!(self.read32(REG_STATUS), STATUS_READY);
    }

    /// The same, if the device takes it.
    pub fn set_up(&self) {
        for ring in [self.commands, self.faults] {
            self.machine.write(ring.base, &[0; 128]);
        }
        self.bus.set_bus_master(true);
        self.write64(REG_CONTEXT_BASE, self.machine.dma(self.contexts));
        self.write32(REG_CONTEXT_ENTRIES, CONTEXTS);
        self.write64(REG_COMMAND_BASE, self.machine.dma(self.commands.base));
        self.write32(REG_COMMAND_ENTRIES, self.commands.entries);
        self.write64(REG_FAULT_BASE, self.machine.dma(self.faults.base));
        self.write32(REG_FAULT_ENTRIES, self.faults.entries);
        self.write32(REG_CTRL, CTRL_ENABLE);
    }

    /// Goes on with another device, by a call.
    pub fn move_to(&mut self, device: Arc<Device>) {
        self.bus = device.clone();
        self.device = device;
    }

    /// Reads a 32-bit register.
    pub fn read32(&self, register: u32) -> u32 {
        let mut bytes = [0; 4];
        self.bus.read(register.into(), &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Writes a 32-bit register.
    pub fn write32(&self, register: u32, value: u32) {
        self.bus.write(register.into(), &value.to_le_bytes());
    }

    /// Writes a 64-bit register.
    pub fn write64(&self, register: u32, value: u64) {
        self.bus.write(register.into(), &value.to_le_bytes());
    }

    /// Makes a process.
    pub fn create_space(&mut self, pasid: u32) {
        let space = AddressSpace::new(&self.machine, &mut self.frames);
        self.set_context(pasid, self.machine.dma(space.root) | CONTEXT_VALID);
        self.spaces.insert(pasid, space);
    }

    /// Writes the first word of an entry of the context table.
    pub fn set_context(&self, pasid: u32, root: u64) {
        self.machine.store(self.contexts + u64::from(pasid) * Context::SIZE as u64, root);
    }

    /// A process.
    pub fn space(&self, pasid: u32) -> &AddressSpace {
        &self.spaces[&pasid]
    }

    /// Gives a process memory in leaves of `size`, unknown to the device.
    pub fn allocate(&mut self, pasid: u32, va: u64, bytes: u64, size: u64) {
        let space = self.spaces.get_mut(&pasid).expect("a process");
        space.allocate(&self.machine, &mut self.frames, va, bytes, size);
    }

    /// Makes a range of a process's memory present for the device.
    pub fn map(&mut self, pasid: u32, va: u64, bytes: u64, write: bool) {
        for page in (va & !(PAGE - 1)..va + bytes).step_by(PAGE as usize) {
            self.spaces[&pasid].map(&self.machine, &mut self.frames, page, write, 0);
        }
    }

    /// Address of the entry for `va` at `level` of a process's table.
    pub fn entry(&mut self, pasid: u32, va: u64, level: u32) -> u64 {
        self.spaces[&pasid].entry(&self.machine, &mut self.frames, va, level)
    }

    /// Moves a 4 KiB page of a process to another frame and poisons the old; the
    /// device must have been told before.
    pub fn migrate(&mut self, pasid: u32, va: u64) {
        let space = self.spaces.get_mut(&pasid).expect("a process");
        space.migrate(&self.machine, &mut self.frames, va);
    }

    /// Makes a process's memory at `va` read only or not.
    pub fn protect(&mut self, pasid: u32, va: u64, writable: bool) {
        self.spaces.get_mut(&pasid).expect("a process").protect(va, writable);
    }

    /// Takes a range away from the device, and tells it.
    pub fn take_away(&mut self, pasid: u32, va: u64, bytes: u64) {
        self.unmap(pasid, va, bytes);
        self.invalidate(pasid, va, bytes);
    }

    /// Takes a range away from the device, without telling it.
    pub fn unmap(&mut self, pasid: u32, va: u64, bytes: u64) {
        for page in (va & !(PAGE - 1)..va + bytes).step_by(PAGE as usize) {
            self.spaces[&pasid].unmap(&self.machine, &mut self.frames, page);
        }
    }

    /// Writes a process's memory.
    pub fn write(&self, pasid: u32, va: u64, bytes: &[u8]) {
        self.space(pasid).write(&self.machine, va, bytes);
    }

    /// Reads a process's memory.
    pub fn read(&self, pasid: u32, va: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        self.space(pasid).read(&self.machine, va, &mut bytes);
        bytes
    }

    /// Reads a u64 of a process.
    pub fn read64(&self, pasid: u32, va: u64) -> u64 {
        u64::from_le_bytes(self.bytes(pasid, va))
    }

    /// Reads a completion record.
    pub fn completion(&self, pasid: u32, va: u64) -> Completion {
        Completion::from_bytes(&self.bytes(pasid, va))
    }

    fn bytes<const N: usize>(&self, pasid: u32, va: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.space(pasid).read(&self.machine, va, &mut bytes);
        bytes
    }

    /// Gives a command to the device.
    pub fn command(&self, command: Command) {
        self.commands.push(&self.machine, |address| address, &command.to_bytes());
        self.bus.doorbell(DOORBELL_COMMAND.into());
    }

    /// Invalidates a range; 0 bytes mean everything.
    pub fn invalidate(&self, pasid: u32, address: u64, bytes: u64) {
        let opcode = CMD_INVALIDATE as u8;
        self.command(Command { opcode, pasid, address, value: bytes, ..Command::default() });
    }

    /// Answers a fault group.
    pub fn respond(&self, queue: u16, group: u32, fail: bool) {
        let flags = if fail { RESPONSE_FAIL as u8 } else { 0 };
        let (opcode, value) = (CMD_PAGE_RESPONSE as u8, group.into());
        self.command(Command { opcode, flags, queue, value, ..Command::default() });
    }

    /// Asks for a fence after all commands so far; gives its value.
    pub fn wait(&mut self) -> u64 {
        self.waits += 1;
        let (address, value) = (self.machine.dma(self.fence), self.waits);
        let opcode = CMD_WAIT as u8;
        self.command(Command { opcode, address, value, ..Command::default() });
        value
    }

    /// Whether the device has come to the fence of `value`.
    pub fn reached(&self, value: u64) -> bool {
        self.machine.load(self.fence) >= value
    }

    /// Gives a process a queue with a ring at `va`, in fresh memory.
    pub fn create_queue(&mut self, number: u16, pasid: u32, va: u64, entries: u32) -> Queue {
        let ring = RingPlace { base: va, entries, entry_size: Descriptor::SIZE };
        self.allocate(pasid, va, ring.bytes(), PAGE);
        let queue = Queue { number, pasid, ring };
        self.bind(&queue);
        queue
    }

    /// Binds a queue.
    pub fn bind(&self, queue: &Queue) {
        self.command(Command {
            opcode: CMD_QUEUE_ENABLE as u8,
            queue: queue.number,
            pasid: queue.pasid,
            address: queue.ring.base,
            value: queue.ring.entries.into(),
            extra: VECTOR_QUEUE.into(),
            ..Command::default()
        });
    }

    /// Binds a queue anew, with its ring as it was at first.
    pub fn rebind(&self, queue: &Queue) {
        self.write(queue.pasid, queue.ring.base, &[0; 128]);
        self.bind(queue);
    }

    /// Unbinds a queue.
    pub fn unbind(&self, number: u16) {
        let opcode = CMD_QUEUE_DISABLE as u8;
        self.command(Command { opcode, queue: number, ..Command::default() });
    }

    /// Puts a descriptor into a queue and rings.
    pub fn submit(&self, queue: &Queue, descriptor: Descriptor) {
        let physical = |va| self.space(queue.pasid).physical(va);
        queue.ring.push(&self.machine, physical, &descriptor.to_bytes());
        self.bus.doorbell(queue.number.into());
    }

    /// Takes the next fault record, if there is one.
    pub fn next_fault(&self) -> Option<Fault> {
        let bytes = self.faults.pop(&self.machine)?;
        // Our head before their tail: see the device's fault queue.
        fence(Ordering::SeqCst);
        Some(Fault::from_bytes(&bytes))
    }

    /// Takes all fault records that there are.
    pub fn take_faults(&self) -> Vec<Fault> {
        std::iter::from_fn(|| self.next_fault()).collect()
    }

    /// Makes the page of a fault present if the process may have it.
    pub fn supply(&mut self, fault: &Fault) -> bool {
        let write = u32::from(fault.access) & ACCESS_WRITE != 0;
        let Some(space) = self.spaces.get(&fault.pasid) else { return false };
        let permitted = space.permits(fault.address, write);
        if permitted {
            let writable = space.permits(fault.address, true);
            let atomic = u32::from(fault.access) & ACCESS_ATOMIC != 0;
            let more = if atomic { PTE_ATOMIC } else { 0 };
            space.map(&self.machine, &mut self.frames, fault.address, writable, more);
        }
        permitted
    }

    /// Steps two engines and everything else, serving all faults, until nothing is left to do.
    pub fn settle(&mut self) {
        let device = self.device.clone();
        with_engines(&device, 2, |engines| settle(self, engines, &mut serve));
    }

    /// Serves the fault records that there are, each group as `policy` says of
    /// its demanded record; true if there were any.
    pub fn serve(&mut self, policy: &mut dyn FnMut(&mut Self, &Fault) -> Answer) -> bool {
        let records = self.take_faults();
        let mut demanded = None;
        for record in &records {
            if u32::from(record.kind) != FAULT_PAGE_REQUEST {
                continue;
            }
            let ahead = u32::from(record.flags) & FAULT_LOOKAHEAD != 0;
            if !ahead {
                demanded = Some((*record, policy(self, record)));
            }
            let (first, mut answer) = demanded.expect("a demanded record before those ahead");
            if answer == Answer::Serve && !self.supply(record) && !ahead {
                answer = Answer::Fail;
                demanded = Some((first, answer));
            }
            if u32::from(record.flags) & FAULT_LAST != 0 && answer != Answer::Keep {
                self.respond(first.queue, first.group, answer == Answer::Fail);
            }
        }
        !records.is_empty()
    }
}

/// Serves everything that the process may have.
pub fn serve(_: &mut Driver, _: &Fault) -> Answer {
    Answer::Serve
}

/// Calls `body` with engines attached to the device as it is now.
pub fn with_engines<R>(
    device: &Device,
    engines: usize,
    body: impl FnOnce(&mut [Engine<'_>]) -> R,
) -> R {
    let attachment = device.attach();
    let mut engines: Vec<_> = (0..engines).map(|_| device.engine(&attachment)).collect();
    body(&mut engines)
}

/// Steps engines, command processor and driver in turn until none has anything to do.
pub fn settle(
    driver: &mut Driver,
    engines: &mut [Engine<'_>],
    policy: &mut dyn FnMut(&mut Driver, &Fault) -> Answer,
) {
    let device = driver.device.clone();
    loop {
        let mut busy = false;
        for engine in engines.iter_mut() {
            busy |= engine.step() == Step::Worked;
        }
        busy |= device.step_commands() == Step::Worked;
        busy |= driver.serve(policy);
        if !busy {
            return;
        }
    }
}
