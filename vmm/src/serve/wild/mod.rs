// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client and its guest that do anything, made of any bytes: for a fuzzer, and for a test
//! that tries some. What they do must end, and nobody may panic of it.
//!
//! All is done on one thread, so that an input always does the same: the device takes some steps
//! behind each message, and the guest does what it does before the next.

mod act;
mod guest;
mod memory;
mod speaker;
mod stepping;

use super::below::Below;
use super::cut_off;
use super::endpoint::Endpoint;
use act::{Act, MAPPED, UNMAPPED};
use arbitrary::{Arbitrary, Unstructured};
use farfault_device_model::{Device, DeviceConfig, MIN_TLB};
use farfault_reference_driver::{Driver, FakeMachine, PAGE, Queue};
use farfault_vfio_user::{Bell, DmaMap, Served, Span, serve};
use guest::Guest;
use memory::{MEMORY, file};
use nix::fcntl::{FallocateFlags, fallocate};
use speaker::Speaker;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use stepping::Stepping;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

/// Acts of one input.
const MAX_ACTS: usize = 64;

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
        let mut driver = Driver::start_with(config(), FakeMachine::on(mapped), 64);
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
        let acts = acts(input);
        self.begin_anew()?;
        let below = Arc::new(Below::new());
        let device = Device::new(config(), Arc::clone(&below) as _).map_err(io::Error::other)?;
        let mut endpoint = Endpoint::new(Arc::clone(&device), below).map_err(io::Error::other)?;
        let span = Span { first: 0, last: MEMORY - 1 };
        let map = DmaMap { span, offset: 0, read: true, write: true };
        endpoint.map(&map, Some(self.memory.try_clone()?))?;
        self.driver.move_to(Arc::clone(&device));
        self.driver.set_up();
        self.driver.bind(&self.queue);
        let (client, server) = UnixStream::pair()?;
        self.answers.send(client.try_clone()?).map_err(io::Error::other)?;
        let other = file(8 * PAGE)?;
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

/// A small device: each input has one of its own, which knows little from one step to the next.
fn config() -> DeviceConfig {
    DeviceConfig {
        engines: 1,
        lookahead: 8,
        tlb: MIN_TLB,
        vram: 2 << 20,
        atomics: false,
        ..DeviceConfig::default()
    }
}

/// What is said by bytes, as far as they go.
fn acts(input: &[u8]) -> Vec<Act> {
    let mut left = Unstructured::new(input);
    let mut next = || if left.is_empty() { None } else { Act::arbitrary(&mut left).ok() };
    std::iter::from_fn(&mut next).take(MAX_ACTS).collect()
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
