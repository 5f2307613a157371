// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A driver of the console as small as it can be, for tests: sets up the
//! queues through the registers and moves buffers through memory.

use super::console::{self, Console};
use super::control::message;
use super::transport::{self, Transport};
use crate::pci::test_doubles::Sink;
use crate::pci::{Msix, PciDevice};
use event_manager::{EventManager, SubscriberId, SubscriberOps};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

pub const MEMORY: usize = 4 << 20;
pub const SIZE: u16 = 16;
/// Each queue has a page for its rings and 16 pages for buffers.
const AREA: u64 = 0x1_0000 + RINGS;
const RINGS: u64 = 0x1000;
const AVAILABLE: u64 = 0x400;
const USED: u64 = 0x800;
const WRITE: u16 = 2;

/// A console between a driver and the host ends of its two ports.
pub struct Rig {
    pub memory: Arc<GuestMemoryMmap>,
    pub transport: Arc<Transport>,
    pub sink: Sink,
    pub host: Vec<UnixStream>,
    events: EventManager<Console>,
    id: SubscriberId,
    available: [u16; 6],
    used: [u16; 6],
}

impl Rig {
    /// A console that no driver has touched.
    pub fn new() -> Rig {
        Rig::on(Arc::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap()))
    }

    fn on(memory: Arc<GuestMemoryMmap>) -> Rig {
        let sink = Sink::default();
        let msix = Arc::new(Msix::new(sink.vectors(transport::VECTORS)));
        msix.configure(true, false, true);
        for vector in 0..2 {
            msix.write(16 * vector + 12, &[0; 4]);
        }
        let transport = console::transport(2, Arc::clone(&memory), msix).unwrap();
        let (guest, host): (Vec<_>, Vec<_>) = (0..2).map(|_| UnixStream::pair().unwrap()).unzip();
        host.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
        let ports = ["first", "second"].into_iter().zip(guest).collect();
        let console = Console::new(Arc::clone(&transport), ports).unwrap();
        let mut events = EventManager::new().unwrap();
        let id = events.add_subscriber(console);
        transport.set_bus_master(true);
        Rig { memory, transport, sink, host, events, id, available: [0; 6], used: [0; 6] }
    }

    /// A console whose driver has set up all queues.
    pub fn started() -> Rig {
        let rig = Rig::new();
        rig.negotiate();
        (0..6).for_each(|queue| rig.set_up(queue, area(queue)));
        rig.write8(0x14, 15);
        rig
    }

    /// A started console whose first port a program has opened.
    pub fn open() -> Rig {
        let mut rig = Rig::started();
        for _ in 0..4 {
            rig.offer(2, 64);
        }
        rig.send(3, &message(0, 6, 1));
        rig.turn();
        rig
    }

    /// The same driver with another console, which was restored.
    pub fn moved(&mut self) -> Rig {
        let saved = self.console().save().expect("idle");
        let mut rig = Rig::on(Arc::clone(&self.memory));
        assert!(rig.console().restore(&saved));
        Rig { available: self.available, used: self.used, ..rig }
    }

    pub fn negotiate(&self) {
        self.write8(0x14, 3);
        self.write32(0x08, 1);
        self.write32(0x0c, 1);
        self.write32(0x08, 0);
        self.write32(0x0c, 2);
        self.write8(0x14, 11);
    }

    /// Sets up a queue with its rings at `base`.
    pub fn set_up(&self, queue: u16, base: u64) {
        self.write16(0x16, queue);
        self.write16(0x18, SIZE);
        self.write16(0x1a, 1);
        for (register, address) in [(0x20, base), (0x28, base + AVAILABLE), (0x30, base + USED)] {
            self.write32(register, address as u32);
            self.write32(register + 4, (address >> 32) as u32);
        }
        self.write16(0x1c, 1);
    }

    /// Has the event loop handle all that has happened.
    pub fn turn(&mut self) {
        while self.events.run_with_timeout(0).unwrap() > 0 {}
    }

    pub fn console(&mut self) -> &mut Console {
        self.events.subscriber_mut(self.id).unwrap()
    }

    /// Puts a written buffer into a queue and kicks.
    pub fn send(&mut self, queue: u16, bytes: &[u8]) {
        let buffer = self.buffer(queue);
        self.memory.write_slice(bytes, GuestAddress(buffer)).unwrap();
        self.put(queue, buffer, bytes.len() as u32, 0);
    }

    /// Puts an empty buffer into a queue and kicks.
    pub fn offer(&mut self, queue: u16, length: u32) {
        let buffer = self.buffer(queue);
        self.put(queue, buffer, length, WRITE);
    }

    /// Puts a descriptor into a queue and kicks.
    pub fn put(&mut self, queue: u16, address: u64, length: u32, flags: u16) {
        let slot = self.available[usize::from(queue)] % SIZE;
        self.describe(queue, slot, (address, length, flags, 0));
        self.make_available(queue, slot);
    }

    pub fn describe(&self, queue: u16, slot: u16, descriptor: (u64, u32, u16, u16)) {
        let (address, length, flags, next) = descriptor;
        let at = area(queue) + 16 * u64::from(slot);
        self.memory.write_obj(address, GuestAddress(at)).unwrap();
        self.memory.write_obj(length, GuestAddress(at + 8)).unwrap();
        self.memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        self.memory.write_obj(next, GuestAddress(at + 14)).unwrap();
    }

    /// Makes the chain that begins at `head` available, and kicks.
    pub fn make_available(&mut self, queue: u16, head: u16) {
        let index = &mut self.available[usize::from(queue)];
        let entry = area(queue) + AVAILABLE + 4 + 2 * u64::from(*index % SIZE);
        self.memory.write_obj(head, GuestAddress(entry)).unwrap();
        *index = index.wrapping_add(1);
        let index = *index;
        self.set_available(queue, index);
    }

    /// Writes the available index, and kicks.
    pub fn set_available(&self, queue: u16, index: u16) {
        self.memory.write_obj(index, GuestAddress(area(queue) + AVAILABLE + 2)).unwrap();
        self.transport.write(0, 0x3000 + 4 * u64::from(queue), &queue.to_le_bytes());
    }

    /// What the device has written into the next used buffer, if there is one.
    pub fn receive(&mut self, queue: u16) -> Option<Vec<u8>> {
        let rings = area(queue);
        let index: u16 = self.memory.read_obj(GuestAddress(rings + USED + 2)).unwrap();
        let seen = &mut self.used[usize::from(queue)];
        if index == *seen {
            return None;
        }
        let entry = rings + USED + 4 + 8 * u64::from(*seen % SIZE);
        *seen = seen.wrapping_add(1);
        let head: u32 = self.memory.read_obj(GuestAddress(entry)).unwrap();
        let length: u32 = self.memory.read_obj(GuestAddress(entry + 4)).unwrap();
        let buffer: u64 = self.memory.read_obj(GuestAddress(rings + 16 * u64::from(head))).unwrap();
        let mut bytes = vec![0; length as usize];
        self.memory.read_slice(&mut bytes, GuestAddress(buffer)).unwrap();
        Some(bytes)
    }

    /// What has arrived at the host's end of a port.
    pub fn host_read(&mut self, port: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Fails where there is no more for now.
        let _ = self.host[port].read_to_end(&mut bytes);
        bytes
    }

    /// Writes at the host's end of a port.
    pub fn host_write(&mut self, port: usize, bytes: &[u8]) {
        self.host[port].write_all(bytes).unwrap();
    }

    pub fn status(&self) -> u8 {
        let mut status = [0];
        self.transport.read(0, 0x14, &mut status);
        status[0]
    }

    pub fn write8(&self, register: u64, value: u8) {
        self.transport.write(0, register, &[value]);
    }

    pub fn write16(&self, register: u64, value: u16) {
        self.transport.write(0, register, &value.to_le_bytes());
    }

    pub fn write32(&self, register: u64, value: u32) {
        self.transport.write(0, register, &value.to_le_bytes());
    }

    fn buffer(&self, queue: u16) -> u64 {
        let slot = self.available[usize::from(queue)] % SIZE;
        area(queue) + RINGS + 0x1000 * u64::from(slot)
    }
}

/// Where a queue's rings are.
pub fn area(queue: u16) -> u64 {
    0x1_0000 + AREA * u64::from(queue)
}
