// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client and its guest that do anything, made of any bytes: for a fuzzer, and for a test
//! that tries some. What they do must end, and nobody may panic of it.
//!
//! All is done on one thread, so that an input always does the same: the device takes some steps
//! behind each message, and the guest does what it does before the next.

use super::below::Below;
use super::cut_off;
use super::endpoint::Endpoint;
use arbitrary::{Arbitrary, Unstructured};
use farfault_abi::command::Command;
use farfault_abi::descriptor::Descriptor;
use farfault_abi::pci::DOORBELL_COMMAND;
use farfault_device_model::{Device, DeviceConfig, Step};
use farfault_reference_driver::{Driver, FakeMachine, PAGE, Queue, RingPlace};
use farfault_vfio_user::{
    Bell, DmaMap, Errno, HEADER_SIZE, Header, IrqInfo, RegionInfo, Served, SetIrqs, Span, serve,
};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::vec::IntoIter;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

const MEMORY: u64 = 4 << 20;
/// A process's memory that its device reaches from the beginning.
const MAPPED: u64 = 0x100_0000;
/// And some that it reaches when its faults are answered.
const UNMAPPED: u64 = 0x200_0000;
/// Acts of one input.
const MAX_ACTS: usize = 64;
/// Steps of the device behind a message.
const STEPS: usize = 64;

/// What one of them does.
#[derive(Arbitrary, Debug)]
enum Act {
    /// The client sends a message.
    Message {
        command: u8,
        flags: u8,
        body: Vec<u8>,
        files: Vec<Source>,
    },
    /// The client sends what may be no message, and leaves.
    Bytes(Vec<u8>),
    Map {
        address: Place,
        pages: Place,
        offset: Place,
        flags: u8,
        file: Option<Source>,
    },
    Unmap {
        address: Place,
        pages: Place,
        flags: u8,
    },
    Read {
        region: u8,
        offset: u16,
        count: u16,
    },
    Write {
        region: u8,
        offset: u16,
        value: u64,
        size: u8,
    },
    Irqs {
        flags: u8,
        index: u8,
        start: u8,
        count: u8,
        events: u8,
    },
    /// The guest writes to its memory.
    Poke {
        address: u32,
        value: u64,
    },
    /// Its driver gives the device a command.
    Command {
        opcode: u8,
        flags: u8,
        queue: u8,
        pasid: u8,
        address: Place,
        value: Place,
        extra: u8,
    },
    /// Its program gives the device a command.
    Submit {
        opcode: u8,
        flags: u8,
        source: Place,
        destination: Place,
        length: Place,
        operand: u64,
    },
    /// A file of the client's becomes shorter.
    Cut,
}

/// A number that may mean something.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    Small(u8),
    Pages(u16),
    Mapped(u16),
    Unmapped(u16),
    Any(u64),
}

impl Place {
    fn number(self) -> u64 {
        match self {
            Place::Small(number) => number.into(),
            Place::Pages(pages) => u64::from(pages) * PAGE,
            Place::Mapped(offset) => MAPPED + u64::from(offset),
            Place::Unmapped(offset) => UNMAPPED + u64::from(offset),
            Place::Any(number) => number,
        }
    }
}

/// What a descriptor is of.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Source {
    Guest,
    /// Some memory beside it, which can be cut.
    Other,
    /// Less than a page.
    Short,
    Event,
    Socket,
}

/// What all inputs begin with.
pub struct World {
    driver: Driver,
    queue: Queue,
    memory: OwnedFd,
    /// The pages of the guest's memory that are not empty.
    image: Vec<(u64, Vec<u8>)>,
    /// To the thread that reads what clients are answered.
    answers: Sender<UnixStream>,
}

impl World {
    /// A guest whose program has a queue.
    pub fn new() -> io::Result<Self> {
        cut_off::install()?;
        let memory = file(MEMORY)?;
        let shared = FileOffset::new(File::from(memory.try_clone()?), 0);
        let range = (GuestAddress(0), MEMORY as usize, Some(shared));
        let mapped = GuestMemoryMmap::from_ranges_with_files([range]).map_err(io::Error::other)?;
        let config = DeviceConfig { lookahead: 8, ..DeviceConfig::default() };
        let mut driver = Driver::start_with(config, FakeMachine::on(mapped), 64);
        driver.create_space(1);
        for va in [MAPPED, UNMAPPED] {
            driver.allocate(1, va, 16 * PAGE, PAGE);
        }
        driver.map(1, MAPPED, 16 * PAGE, true);
        let queue = driver.create_queue(0, 1, MAPPED + (1 << 20), 16);
        driver.map(1, queue.ring.base, queue.ring.bytes(), true);
        driver.settle();
        let page = |address| {
            let mut bytes = vec![0; PAGE as usize];
            driver.machine.read(address, &mut bytes);
            (address, bytes)
        };
        let pages = (0..MEMORY).step_by(PAGE as usize).map(page);
        let image = pages.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)).collect();
        let (answers, sockets) = mpsc::channel::<UnixStream>();
        thread::spawn(move || {
            sockets.iter().for_each(|mut socket| drop(io::copy(&mut socket, &mut io::sink())));
        });
        Ok(Self { driver, queue, memory, image, answers })
    }

    /// Does what the bytes say, from the beginning.
    pub fn play(&mut self, input: &[u8]) -> io::Result<()> {
        let acts = Vec::<Act>::arbitrary_take_rest(Unstructured::new(input)).unwrap_or_default();
        self.begin_anew()?;
        let below = Arc::new(Below::new());
        let config = DeviceConfig { lookahead: 8, ..DeviceConfig::default() };
        let device = Device::new(config, Arc::clone(&below) as _).map_err(io::Error::other)?;
        let mut endpoint = Endpoint::new(Arc::clone(&device), below).map_err(io::Error::other)?;
        let span = Span { first: 0, last: MEMORY - 1 };
        let map = DmaMap { span, offset: 0, read: true, write: true };
        endpoint.map(&map, Some(self.memory.try_clone()?))?;
        self.driver.move_to(Arc::clone(&device));
        self.driver.set_up();
        self.driver.bind(&self.queue);
        let (client, server) = UnixStream::pair()?;
        client.set_nonblocking(true)?;
        self.answers.send(client.try_clone()?).map_err(io::Error::other)?;
        let other = file(8 * PAGE)?;
        let acts: Vec<Act> = acts.into_iter().take(MAX_ACTS).collect();
        Speaker { client, memory: &self.memory, other: &other }.say(&acts);
        let guest = Guest { driver: &self.driver, queue: &self.queue, other: &other };
        let mut stepping =
            Stepping { endpoint, device: &device, guest, acts: RefCell::new(acts.into_iter()) };
        // However it ends.
        let _ = serve(server, &Bell::new()?, &mut stepping);
        device.stop();
        Ok(())
    }

    /// Makes the guest's memory what it was.
    fn begin_anew(&self) -> io::Result<()> {
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&self.memory, hole, 0, MEMORY as i64)?;
        self.image.iter().for_each(|(at, bytes)| self.driver.machine.write(*at, bytes));
        Ok(())
    }
}

fn file(size: u64) -> io::Result<OwnedFd> {
    let file = memfd_create("memory", MFdFlags::MFD_CLOEXEC)?;
    ftruncate(&file, size as i64)?;
    Ok(file)
}

/// The client, which says all that it has to say before it is heard.
struct Speaker<'w> {
    client: UnixStream,
    memory: &'w OwnedFd,
    other: &'w OwnedFd,
}

impl Speaker<'_> {
    fn say(&self, acts: &[Act]) {
        self.message(1, 0, &[0; 4], &[]);
        for act in acts {
            if let Act::Bytes(bytes) = act {
                self.send(bytes, &[]);
                break;
            }
            self.act(act);
        }
        // It may have been closed already.
        let _ = self.client.shutdown(Shutdown::Write);
    }

    fn act(&self, act: &Act) {
        match act {
            Act::Message { command, flags, body, files } => {
                self.message((*command).into(), (*flags).into(), body, files);
            }
            Act::Map { address, pages, offset, flags, file } => {
                let places = [offset.number(), address.number(), pages.number()];
                let body = [words(&[32, (*flags).into()]), longs(&places)].concat();
                self.message(2, 0, &body, file.as_slice());
            }
            Act::Unmap { address, pages, flags } => {
                let places = [address.number(), pages.number()];
                let body = [words(&[24, (*flags).into()]), longs(&places)].concat();
                self.message(3, 0, &body, &[]);
            }
            Act::Read { region, offset, count } => {
                let place = words(&[(*region).into(), (*count).into()]);
                self.message(9, 0, &[longs(&[(*offset).into()]), place].concat(), &[]);
            }
            Act::Write { region, offset, value, size } => {
                let size = usize::from(*size % 9);
                let place = words(&[(*region).into(), size as u32]);
                let value = value.to_le_bytes().into_iter().take(size).collect();
                let body = [longs(&[(*offset).into()]), place, value].concat();
                self.message(10, 0x10, &body, &[]);
            }
            Act::Irqs { flags, index, start, count, events } => {
                let all = [20, *flags, *index, *start, *count].map(u32::from);
                let events = vec![Source::Event; usize::from(*events % 18)];
                self.message(8, 0, &words(&all), &events);
            }
            Act::Bytes(_) | Act::Poke { .. } | Act::Command { .. } | Act::Submit { .. } => {}
            Act::Cut => {}
        }
    }

    fn message(&self, command: u16, flags: u32, body: &[u8], files: &[Source]) {
        let size = (HEADER_SIZE + body.len()) as u32;
        // What is no command is not answered, and the guest does nothing behind it.
        let header = Header { id: 1, command, size, flags, error: 0 };
        self.send(&[&header.to_bytes(), body].concat(), files);
    }

    /// What the socket does not take is not said.
    fn send(&self, bytes: &[u8], files: &[Source]) {
        let files: Vec<OwnedFd> =
            files.iter().filter_map(|source| self.open(*source).ok()).collect();
        let files: Vec<_> = files.iter().take(20).map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let _ = files.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(&files));
        let _ = sendmsg(&self.client, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL);
    }

    fn open(&self, source: Source) -> io::Result<OwnedFd> {
        match source {
            Source::Guest => self.memory.try_clone(),
            Source::Other => self.other.try_clone(),
            Source::Short => file(100),
            Source::Event => Ok(EventFd::from_flags(EfdFlags::EFD_NONBLOCK)?.into()),
            Source::Socket => Ok(UnixStream::pair()?.0.into()),
        }
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_le_bytes()).collect()
}

/// The driver and the program in the guest.
struct Guest<'w> {
    driver: &'w Driver,
    queue: &'w Queue,
    other: &'w OwnedFd,
}

impl Guest<'_> {
    /// Does its part; whether this was one.
    fn act(&self, device: &Device, act: &Act) -> bool {
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

/// The device, which does some work behind each message.
struct Stepping<'w> {
    endpoint: Endpoint,
    device: &'w Device,
    guest: Guest<'w>,
    acts: RefCell<IntoIter<Act>>,
}

impl Stepping<'_> {
    fn step(&self) {
        let attachment = self.device.attach();
        let mut engine = self.device.engine(&attachment);
        for _ in 0..STEPS {
            let steps = [self.device.step_commands(), engine.step()];
            if !steps.contains(&Step::Worked) {
                break;
            }
        }
    }
}

impl Served for Stepping<'_> {
    fn admits(&self) -> Result<(), Errno> {
        self.endpoint.admits()
    }

    fn region(&self, index: u32) -> RegionInfo {
        self.endpoint.region(index)
    }

    fn irqs(&self, index: u32) -> IrqInfo {
        self.endpoint.irqs(index)
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) {
        self.endpoint.read(region, offset, data);
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        self.endpoint.write(region, offset, data);
    }

    fn map(&mut self, map: &DmaMap, file: Option<OwnedFd>) -> Result<(), Errno> {
        self.endpoint.map(map, file)
    }

    fn unmap(&mut self, span: Span) -> Result<(), Errno> {
        self.endpoint.unmap(span)
    }

    fn set_irqs(&mut self, set: &SetIrqs<'_>, events: Vec<OwnedFd>) -> Result<(), Errno> {
        self.endpoint.set_irqs(set, events)
    }

    fn reset(&mut self) {
        self.endpoint.reset();
    }

    /// The message is done: the guest goes on to its next.
    fn goes_on(&self) -> bool {
        self.step();
        let mut acts = self.acts.borrow_mut();
        while acts.as_slice().first().is_some_and(|act| self.guest.act(self.device, act)) {
            acts.next();
            self.step();
        }
        acts.next();
        self.endpoint.goes_on()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_they_do_it_ends(inputs in prop::collection::vec(any::<[u8; 512]>(), 4)) {
            let mut world = World::new().expect("a world");
            for input in inputs {
                world.play(&input).expect("played");
            }
        }
    }
}
