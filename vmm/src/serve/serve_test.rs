// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device behind a socket, its guest's memory in a memfd: the driver in Rust works it as it
//! works the model itself, and clients do what they should not.

use super::below::Below;
use super::client::Client;
use super::cut_off;
use super::endpoint::Endpoint;
use crate::accelerator::loops;
use farfault_abi::descriptor::{Completion, Descriptor, OP_COPY, STATUS_OK};
use farfault_abi::fault::REASON_UNREACHABLE;
use farfault_abi::pci::*;
use farfault_abi::regs::{REG_STATUS, REG_VERSION, STATUS_READY, VERSION};
use farfault_device_model::{Device, DeviceConfig};
use farfault_reference_driver::{Bus, Driver, FakeMachine, PAGE, Queue, serve as supply};
use farfault_vfio_user::{Bell, Ended, HEADER_SIZE, Header, serve};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{ftruncate, write};
use parking_lot::Mutex;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

const MEMORY: u64 = 16 << 20;
const CONFIG: u32 = 7;

/// A VMM's end of the socket.
struct Vmm(Mutex<UnixStream>);

impl Vmm {
    /// Versions have been exchanged.
    fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let vmm = Self(Mutex::new(socket));
        vmm.ask(1, &[0; 4], &[]).expect("a version");
        vmm
    }

    fn send(&self, command: u16, flags: u32, body: &[u8], files: &[BorrowedFd<'_>]) {
        let size = (HEADER_SIZE + body.len()) as u32;
        let header = Header { id: 1, command, size, flags, error: 0 };
        let bytes = [&header.to_bytes(), body].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(files.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(files)));
        let bytes = [IoSlice::new(&bytes)];
        sendmsg(&*self.0.lock(), &bytes, &mut ancillary, SendFlags::empty()).expect("sent");
    }

    fn ask(&self, command: u16, body: &[u8], files: &[BorrowedFd<'_>]) -> Result<Vec<u8>, Errno> {
        self.send(command, 0, body, files);
        let mut socket = self.0.lock();
        let mut bytes = [0; HEADER_SIZE];
        socket.read_exact(&mut bytes).expect("a header");
        let header = Header::from_bytes(&bytes);
        let mut body = vec![0; header.body().expect("a body")];
        socket.read_exact(&mut body).expect("a body");
        if header.error == 0 { Ok(body) } else { Err(Errno::from_raw(header.error as i32)) }
    }

    fn map(
        &self,
        address: u64,
        size: u64,
        flags: u32,
        file: Option<&OwnedFd>,
    ) -> Result<(), Errno> {
        let body = [
            [32, flags].map(u32::to_le_bytes).concat(),
            [address, address, size].map(u64::to_le_bytes).concat(),
        ];
        let files: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
        self.ask(2, &body.concat(), &files).map(drop)
    }

    fn unmap(&self, address: u64, size: u64) -> Result<(), Errno> {
        let body = [
            [24, 0].map(u32::to_le_bytes).concat(),
            [address, size].map(u64::to_le_bytes).concat(),
        ];
        self.ask(3, &body.concat(), &[]).map(drop)
    }

    fn read_region(&self, region: u32, offset: u64, count: u32) -> Vec<u8> {
        let body = [offset.to_le_bytes().to_vec(), [region, count].map(u32::to_le_bytes).concat()];
        self.ask(9, &body.concat(), &[]).expect("a read").split_off(16)
    }

    /// As QEMU writes: nobody waits.
    fn write_region(&self, region: u32, offset: u64, data: &[u8]) {
        let place = [region, data.len() as u32].map(u32::to_le_bytes).concat();
        let body = [offset.to_le_bytes().to_vec(), place, data.to_vec()];
        self.send(10, 0x10, &body.concat(), &[]);
    }

    fn config_u32(&self, offset: u64) -> u32 {
        let bytes = self.read_region(CONFIG, offset, 4);
        u32::from_le_bytes(bytes.try_into().expect("four bytes"))
    }

    /// The capability of a kind, found as a driver finds it.
    fn capability(&self, kind: u8) -> u64 {
        let mut at = u64::from(self.config_u32(0x34) as u8);
        while self.config_u32(at) as u8 != kind {
            at = u64::from((self.config_u32(at) >> 8) as u8);
            assert_ne!(at, 0, "no capability {kind:#x}");
        }
        at
    }

    fn events(&self) -> Vec<EventFd> {
        let flags = EfdFlags::EFD_NONBLOCK;
        let events: Vec<_> =
            (0..VECTORS).map(|_| EventFd::from_flags(flags).expect("an eventfd")).collect();
        let body = [20, 0x24, 2, 0, VECTORS].map(u32::to_le_bytes).concat();
        let files: Vec<_> = events.iter().map(AsFd::as_fd).collect();
        self.ask(8, &body, &files).expect("interrupts");
        events
    }
}

impl Bus for Vmm {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.copy_from_slice(&self.read_region(BAR_REGISTERS, offset, data.len() as u32));
    }
    fn write(&self, offset: u64, data: &[u8]) {
        self.write_region(BAR_REGISTERS, offset, data);
    }
    fn doorbell(&self, page: u64) {
        self.write_region(BAR_DOORBELLS, page * DOORBELL_STRIDE, &[0; 4]);
    }
    fn set_bus_master(&self, on: bool) {
        self.write_region(CONFIG, 4, &[if on { 6 } else { 2 }, 0]);
    }
}

fn memfd(size: u64) -> OwnedFd {
    let file = memfd_create("guest", MFdFlags::MFD_CLOEXEC).expect("a memfd");
    ftruncate(&file, size as i64).expect("room");
    file
}

/// A client and what serves it, which the test can look into.
struct World {
    vmm: Arc<Vmm>,
    driver: Driver,
    events: Vec<EventFd>,
    file: OwnedFd,
    server: JoinHandle<Ended>,
}

impl World {
    fn new() -> Self {
        let file = memfd(MEMORY);
        let shared = FileOffset::new(File::from(file.try_clone().expect("a copy")), 0);
        let range = (GuestAddress(0), MEMORY as usize, Some(shared));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).expect("memory");
        let machine = FakeMachine::on(memory);
        let below = Arc::new(Below::new());
        let config = DeviceConfig { lookahead: 8, ..DeviceConfig::default() };
        let device = Device::new(config, Arc::clone(&below) as _).expect("a device");
        let (client, other) = UnixStream::pair().expect("a pair");
        let mut endpoint = Endpoint::new(Arc::clone(&device), below).expect("an endpoint");
        let works = Arc::clone(&device);
        let server = thread::spawn(move || {
            let bell = Bell::new().expect("a bell");
            let threads: Vec<_> =
                loops(&works, 2).into_iter().map(|(_, body)| thread::spawn(body)).collect();
            let ended = serve(other, &bell, &mut endpoint);
            works.stop();
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            ended
        });
        let vmm = Arc::new(Vmm::new(client));
        vmm.map(0, MEMORY, 3, Some(&file)).expect("mapped");
        let events = vmm.events();
        let driver = Driver::start_over(device, Arc::clone(&vmm) as _, machine, 1024);
        Self { vmm, driver, events, file, server }
    }

    /// Copies some pages of fresh memory, faults and all.
    fn copy(&mut self, queue: &Queue, fence: u64) -> Completion {
        self.submit(queue, fence);
        self.finish(fence)
    }

    fn submit(&self, queue: &Queue, fence: u64) {
        let copy = Descriptor {
            opcode: OP_COPY as u8,
            source: SOURCE,
            destination: DESTINATION,
            length: PAGES * PAGE,
            completion: RECORD,
            fence,
            ..Descriptor::default()
        };
        self.driver.submit(queue, copy);
    }

    fn finish(&mut self, fence: u64) -> Completion {
        self.until(|world| {
            world.driver.serve(&mut supply);
            Some(world.driver.completion(1, RECORD)).filter(|record| record.fence == fence)
        })
    }

    fn process(&mut self) -> Queue {
        self.driver.create_space(1);
        for (va, bytes) in [(SOURCE, PAGES * PAGE), (DESTINATION, PAGES * PAGE), (RECORD, PAGE)] {
            self.driver.allocate(1, va, bytes, PAGE);
        }
        let text: Vec<u8> = (0..PAGES * PAGE).map(|at| ((at * 7) >> 3) as u8).collect();
        self.driver.write(1, SOURCE, &text);
        let queue = self.driver.create_queue(0, 1, 0x4000_0000, 16);
        self.wait();
        queue
    }

    fn wait(&mut self) {
        let fence = self.driver.wait();
        self.until(|world| world.driver.reached(fence).then_some(()));
    }

    /// What comes, sooner or later.
    fn until<T>(&mut self, mut come: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(come) = come(self) {
                return come;
            }
            let counters = self.driver.device.counters();
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing comes: {counters:?}");
            thread::yield_now();
        }
    }

    fn is_copied(&self) -> bool {
        let read = |va| self.driver.read(1, va, PAGES * PAGE);
        read(SOURCE) == read(DESTINATION)
    }

    /// The client leaves.
    fn end(self) -> Ended {
        let Self { vmm, driver, server, .. } = self;
        drop(driver);
        drop(vmm);
        server.join().expect("no panic")
    }
}

const SOURCE: u64 = 0x100_0000;
const DESTINATION: u64 = 0x200_0000;
const RECORD: u64 = 0x30_0000;
const PAGES: u64 = 40;

#[test]
fn the_driver_works_the_device_over_a_socket() {
    let mut world = World::new();
    assert_eq!(world.driver.read32(REG_VERSION), VERSION);
    let queue = world.process();
    let record = world.copy(&queue, 1);
    assert_eq!((record.status, world.is_copied()), (STATUS_OK, true));
    assert!(world.events[VECTOR_FAULT as usize].read().is_ok());
    assert!(world.events[VECTOR_COMMAND as usize].read().is_err(), "nobody has asked for it");
    assert!(world.driver.device.counters().page_requests > PAGES);
    assert_eq!(world.end(), Ended::Left);
}

#[test]
fn a_reset_by_message_or_by_driver_leaves_memory_where_it_is() {
    let mut world = World::new();
    let queue = world.process();
    let flr = world.vmm.capability(0x10) + 9;
    for fence in 1..6 {
        assert_eq!(world.copy(&queue, fence).status, STATUS_OK);
        if fence % 2 == 0 {
            world.vmm.ask(13, &[], &[]).expect("a reset");
        } else {
            world.vmm.write_region(CONFIG, flr, &[0x80]);
        }
        assert_eq!(world.driver.read32(REG_STATUS), 0);
        assert_eq!(world.vmm.config_u32(4) & 4, 0, "no bus mastering");
        world.driver.enable();
        world.driver.rebind(&queue);
        world.wait();
    }
    assert_eq!(world.copy(&queue, 6).status, STATUS_OK);
}

#[test]
fn what_is_unmapped_is_not_reached_and_queues_go_on() {
    let mut world = World::new();
    let queue = world.process();
    world.copy(&queue, 1);
    let page = world.driver.space(1).physical(DESTINATION);
    world.driver.write(1, DESTINATION, &[0xee; 16]);
    world.vmm.unmap(page, PAGE).expect("unmapped");
    world.submit(&queue, 2);
    let fault = world.until(|world| world.driver.next_fault());
    assert_eq!((fault.address, u32::from(fault.reason)), (DESTINATION, REASON_UNREACHABLE));
    assert_eq!(world.driver.read(1, DESTINATION, 16), [0xee; 16]);
    // Elsewhere, in a file that is new, and back.
    world.vmm.map(1 << 40, PAGE, 3, Some(&memfd((1 << 40) + PAGE))).expect("another file");
    world.vmm.map(page, PAGE, 3, Some(&world.file)).expect("mapped");
    assert_eq!(world.vmm.map(page, PAGE, 3, Some(&world.file)), Err(Errno::EEXIST));
    world.driver.respond(0, fault.group, false);
    assert_eq!(world.finish(2).status, STATUS_OK);
    assert!(world.is_copied());
    // A page that may only be read.
    world.vmm.unmap(page, PAGE).expect("unmapped");
    world.vmm.map(page, PAGE, 1, Some(&world.file)).expect("mapped");
    world.submit(&queue, 3);
    let fault = world.until(|world| world.driver.next_fault());
    assert_eq!(u32::from(fault.reason), REASON_UNREACHABLE);
    // What hits nothing is no error, and neither is the end of all addresses.
    world.vmm.unmap(1 << 50, PAGE).expect("nothing there");
    world.vmm.unmap(0xfef0_0000, 0xffff_ffff_0110_0000).expect("to the end");
    world.vmm.unmap(0, 1 << 32).expect("all of it");
    assert_eq!(world.driver.read32(REG_STATUS), STATUS_READY);
}

/// A message that wants no reply.
fn reset() -> [u8; HEADER_SIZE] {
    Header { id: 1, command: 13, size: HEADER_SIZE as u32, flags: 0x10, error: 0 }.to_bytes()
}

/// A client of a server that is not looked into.
fn client() -> (Vmm, JoinHandle<Ended>) {
    cut_off::install().expect("a handler");
    let (client, other) = UnixStream::pair().expect("a pair");
    let server = thread::spawn(move || {
        let bell = Bell::new().expect("a bell");
        let client = Client::new(&DeviceConfig::default()).expect("a device");
        client.attend(other, &bell).expect("threads")
    });
    (Vmm::new(client), server)
}

#[test]
fn a_client_that_does_not_share_its_memory_is_refused() {
    let (vmm, server) = client();
    let about = [16, 0, 0, 0].map(u32::to_le_bytes).concat();
    vmm.ask(4, &about, &[]).expect("a description");
    assert_eq!(vmm.map(0, PAGE, 3, None), Err(Errno::EINVAL));
    assert_eq!(vmm.ask(4, &about, &[]), Err(Errno::EINVAL));
    drop(vmm);
    assert_eq!(server.join().expect("no panic"), Ended::Left);
}

#[test]
fn memory_that_is_not_what_it_seems_is_refused() {
    let (vmm, server) = client();
    vmm.map(0xf_0000, PAGE, 1, None).expect("a ROM");
    let file = memfd(2 * PAGE + 5);
    assert_eq!(vmm.map(PAGE, 2 * PAGE, 3, Some(&file)), Err(Errno::EINVAL), "too short");
    vmm.map(0, 2 * PAGE, 3, Some(&file)).expect("long enough");
    vmm.map(1 << 32, PAGE, 3, None).expect("another device's memory");
    let folder = OwnedFd::from(File::open("/").expect("a folder"));
    assert_eq!(vmm.map(2 * PAGE, PAGE, 1, Some(&folder)), Err(Errno::EINVAL));
    let read_only = OwnedFd::from(File::open(std::env::current_exe().expect("us")).expect("us"));
    assert_eq!(vmm.map(2 * PAGE, PAGE, 3, Some(&read_only)), Err(Errno::ENOMEM));
    vmm.map(2 * PAGE, PAGE, 1, Some(&read_only)).expect("for reading");
    for file in (3..40).map(|_| memfd(64 * PAGE)) {
        // Those that nobody uses make room for others.
        vmm.map(8 * PAGE, PAGE, 3, Some(&file)).expect("a file");
        vmm.unmap(8 * PAGE, PAGE).expect("unmapped");
    }
    drop(vmm);
    assert_eq!(server.join().expect("no panic"), Ended::Left);
}

#[test]
fn a_file_that_is_cut_off_ends_its_client_only() {
    let mut world = World::new();
    cut_off::install().expect("a handler");
    let queue = world.process();
    assert_eq!(world.copy(&queue, 1).status, STATUS_OK);
    // The rings stay; what the device reads is gone.
    let page = world.driver.space(1).physical(DESTINATION + (PAGES - 1) * PAGE);
    let lost = memfd(page + PAGE);
    world.vmm.unmap(page, PAGE).expect("unmapped");
    world.vmm.map(page, PAGE, 3, Some(&lost)).expect("mapped");
    ftruncate(&lost, 0).expect("cut off");
    world.submit(&queue, 2);
    // It is seen off with the doorbell, or with what comes next.
    world.until(|world| {
        let done = world.server.is_finished() || world.driver.completion(1, RECORD).fence == 2;
        done.then_some(())
    });
    let _ = write(&*world.vmm.0.lock(), &reset());
    assert_eq!(world.server.join().expect("no panic"), Ended::Device);
}
