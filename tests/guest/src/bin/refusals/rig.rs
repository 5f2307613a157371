// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each test works with: a context, and a queue that takes anything.
#![allow(unsafe_code, reason = "gives the device descriptors that are wrong on purpose")]

use farfault_client::raw::DeviceFile;
use farfault_client::raw::descriptor::{self as abi, Completion, Descriptor};
use farfault_guest_programs::Failure;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing, memory_file};
use farfault_guest_programs::pagemap::Pagemap;
use farfault_guest_programs::raw_queue::RawQueue;
use nix::errno::Errno;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A fence value that nothing is asked to write, and no other one has reached.
const NEVER: u64 = 1 << 62;
/// The fence of a command that ends only when its memory goes.
pub const ENDLESS: u64 = 1 << 61;

pub struct Rig {
    pub device: Arc<DeviceFile>,
    pub queue: RawQueue,
}

impl Rig {
    pub fn new() -> Result<Self, Failure> {
        let device = open()?;
        let queue = RawQueue::new(&device, 16)?;
        Ok(Self { device, queue })
    }

    /// Has the device carry out `descriptor`, and waits for it.
    pub fn run(&mut self, descriptor: Descriptor) -> nix::Result<Completion> {
        // SAFETY: a rule of this program: a descriptor names regions that are only
        // looked at once it has ended, or addresses at which nothing is.
        unsafe { self.queue.run(descriptor) }
    }

    /// Has it carried out, which must go well.
    pub fn done(&mut self, what: &str, descriptor: Descriptor) -> Outcome {
        let completion = self.run(descriptor)?;
        expect_equal(&format!("status of {what}"), &completion.status, &abi::STATUS_OK)
    }

    /// Hands over `descriptor` exactly as it is; gives its ring index.
    pub fn submit(&mut self, descriptor: &Descriptor) -> u32 {
        // SAFETY: as in run().
        unsafe { self.queue.submit(descriptor) }
    }

    /// Starts a command that never ends, and returns when the device has begun.
    /// It ends when the memory goes, which is given back.
    pub fn start_endless(&mut self) -> Result<Region, Failure> {
        let ring = endless_ring()?;
        self.submit(&Descriptor {
            flags: abi::DESC_IRQ as u8,
            completion: self.queue.ring.record_address(0),
            fence: ENDLESS,
            ..endless(&ring)
        });
        await_presence(&Pagemap::own()?, &ring)?;
        Ok(ring)
    }

    /// Has a correct command done, to show that queue and process live on.
    pub fn still_works(&mut self) -> Outcome {
        let mut source = Region::anonymous(2 * PAGE)?;
        let target = Region::anonymous(2 * PAGE)?;
        source.fill(0x5a);
        let copy = copy(source.address(), target.address(), 2 * PAGE as u64);
        self.done("a copy afterwards", copy)?;
        expect("the copy afterwards is right", source[..] == target[..])
    }

    /// Expects `descriptor` to be answered with `status`, and the queue to live on.
    pub fn refuses(&mut self, what: &str, descriptor: Descriptor, status: u32) -> Outcome {
        let completion = self.run(descriptor).map_err(|error| format!("{what}: WAIT: {error}"))?;
        expect_equal(what, &completion.status, &status)?;
        self.still_works().map_err(|why| format!("after {what}: {why}").into())
    }

    /// Expects `descriptor` to be refused for an access to `address`, after `done`
    /// bytes or elements, and the queue to live on.
    pub fn faults(&mut self, descriptor: Descriptor, address: u64, done: u64) -> Outcome {
        let completion = self.run(descriptor)?;
        expect_equal("status", &completion.status, &abi::STATUS_FAULT)?;
        expect_equal("address that the status names", &completion.fault_address, &address)?;
        expect_equal("done before it", &completion.done, &done)?;
        self.still_works()
    }

    /// Expects the queue to have been halted, and a new one on the same context to work.
    pub fn is_halted(&mut self) -> Outcome {
        let record = self.queue.ring.record_address(0);
        expect_equal("WAIT on the queue", &self.queue.wait(record, NEVER, 0), &Err(Errno::EIO))?;
        self.queue = RawQueue::new(&self.device, 16)?;
        self.still_works()
    }
}

pub use farfault_guest_programs::commands::{chase, command, copy, fill, nop, word_count};
pub use farfault_guest_programs::raw_queue::open;

/// Two pages, each with a node that links to the other; the CPU has not touched
/// the mapping.
pub fn endless_ring() -> Result<Region, Failure> {
    let file = memory_file(2 * PAGE as u64)?;
    let ring = Region::of_file(&file, 2 * PAGE, Sharing::Shared, Access::Write)?;
    let second = ring.address() + PAGE as u64;
    file.write_all_at(&second.to_le_bytes(), 0)?;
    file.write_all_at(&ring.address().to_le_bytes(), PAGE as u64)?;
    Ok(ring)
}

pub fn endless(ring: &Region) -> Descriptor {
    chase(ring.address())
}

/// Returns when somebody, which can only be the device, has made `region` present.
pub fn await_presence(pagemap: &Pagemap, region: &Region) -> Result<(), Failure> {
    while !pagemap.entry(region.address())?.is_present() {
        std::thread::yield_now();
    }
    Ok(())
}
