// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A queue without the client library's care, for doing everything wrong.
#![allow(unsafe_code, reason = "gives the device addresses that nobody vouches for")]

use crate::{Failure, commands};
use farfault_client::Device;
use farfault_client::raw::descriptor::{Completion, Descriptor};
use farfault_client::raw::uapi::{QueueCreate, Wait};
use farfault_client::raw::{DeviceFile, Doorbell, Kernel, RingMemory};
use nix::errno::Errno;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::sync::Arc;

/// Opens the device: a context of this process.
pub fn open() -> Result<Arc<DeviceFile>, Failure> {
    let file = DeviceFile::open(Path::new(Device::PATH));
    Ok(Arc::new(file.map_err(|error| format!("{}: {error}", Device::PATH))?))
}

/// Nanoseconds of CLOCK_MONOTONIC, which deadlines are told in.
pub fn now() -> nix::Result<u64> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.num_nanoseconds() as u64)
}

/// Ring, doorbell and number of a queue; destroyed when dropped.
pub struct RawQueue {
    kernel: Arc<DeviceFile>,
    /// Its memory.
    pub ring: RingMemory,
    doorbell: Box<dyn Doorbell>,
    /// The driver's number for it.
    pub number: u32,
    /// Offset of its doorbell page.
    pub doorbell_offset: u64,
    next: u32,
    destroyed: bool,
}

impl RawQueue {
    /// A queue of `entries`, a power of two.
    pub fn new(kernel: &Arc<DeviceFile>, entries: u32) -> nix::Result<Self> {
        let ring = RingMemory::new(entries, 0)?;
        let mut create = QueueCreate { ring: ring.address(), entries, ..QueueCreate::default() };
        // SAFETY: the ring is dropped after the queue has been destroyed.
        unsafe { kernel.queue_create(&mut create) }?;
        let doorbell = kernel.doorbell(create.doorbell)?;
        Ok(Self {
            kernel: Arc::clone(kernel),
            ring,
            doorbell,
            number: create.queue,
            doorbell_offset: create.doorbell,
            next: 0,
            destroyed: false,
        })
    }

    /// The open file that it is a queue of.
    pub fn device(&self) -> &DeviceFile {
        &self.kernel
    }

    /// Submits `descriptor` exactly as it is, and returns its ring index.
    ///
    /// # Safety
    /// The device may do to memory what the descriptor says, at any time until the
    /// queue is gone.
    pub unsafe fn submit(&mut self, descriptor: &Descriptor) -> u32 {
        let index = self.next;
        self.next = index.wrapping_add(1);
        self.ring.write(index, descriptor);
        self.set_tail(self.next);
        index
    }

    /// Submits `descriptor` with a completion record in the ring's memory, and
    /// waits until it has ended.
    ///
    /// # Errors
    /// As WAIT answers: EIO if the queue has halted.
    ///
    /// # Safety
    /// As [`submit`](Self::submit).
    pub unsafe fn run(&mut self, descriptor: Descriptor) -> nix::Result<Completion> {
        // SAFETY: as the caller promises.
        let index = unsafe { self.post(commands::interrupting(descriptor)) };
        self.ring();
        self.finish(index)
    }

    /// Hands `descriptor` over with a completion record in the ring's memory, and
    /// returns its ring index, to be [finished](Self::finish) before the ring comes
    /// round to it. The device need not look at it before it is [rung](Self::ring).
    ///
    /// # Safety
    /// As [`submit`](Self::submit).
    pub unsafe fn post(&mut self, descriptor: Descriptor) -> u32 {
        let index = self.write(descriptor);
        self.ring.set_tail(self.next);
        index
    }

    /// Writes `descriptor`, with a completion record, into the ring.
    fn write(&mut self, descriptor: Descriptor) -> u32 {
        let index = self.next;
        self.next = index.wrapping_add(1);
        let (completion, fence) = (self.ring.record_address(index), fence_of(index));
        self.ring.write(index, &Descriptor { completion, fence, ..descriptor });
        index
    }

    /// Rings the doorbell.
    pub fn ring(&self) {
        self.doorbell.ring();
    }

    /// Waits until the command at `index`, which was [posted](Self::post), has ended.
    /// It must raise an interrupt, or one behind it.
    ///
    /// # Errors
    /// As WAIT answers: EIO if the queue has halted.
    pub fn finish(&self, index: u32) -> nix::Result<Completion> {
        let (completion, fence) = (self.ring.record_address(index), fence_of(index));
        loop {
            if let Some(record) = self.ring.record(index, fence) {
                return Ok(record);
            }
            match self.wait(completion, fence, 0) {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Submits all of `descriptors` with one doorbell, each with a completion
    /// record in the ring's memory, and waits until the last has ended or the
    /// CLOCK_MONOTONIC time `deadline` has passed (0: never).
    ///
    /// # Errors
    /// As WAIT answers: EIO if the queue has halted, ETIME. E2BIG if the ring has
    /// fewer entries.
    ///
    /// # Safety
    /// As [`submit`](Self::submit).
    pub unsafe fn run_all(
        &mut self,
        descriptors: &[Descriptor],
        deadline: u64,
    ) -> nix::Result<Vec<Completion>> {
        let Some((last, others)) = descriptors.split_last() else { return Ok(Vec::new()) };
        if descriptors.len() > self.ring.entries() as usize {
            return Err(Errno::E2BIG);
        }
        let mut indices: Vec<u32> = others.iter().map(|one| self.write(*one)).collect();
        let last = self.write(commands::interrupting(*last));
        indices.push(last);
        self.set_tail(self.next);
        let record = self.ring.record_address(last);
        while let Err(error) = self.wait(record, fence_of(last), deadline) {
            if error != Errno::EINTR {
                return Err(error);
            }
        }
        let record = |index| self.ring.record(index, fence_of(index)).ok_or(Errno::EPROTO);
        indices.into_iter().map(record).collect()
    }

    /// Stores `tail`, whatever it is, and rings.
    pub fn set_tail(&self, tail: u32) {
        self.ring.set_tail(tail);
        self.doorbell.ring();
    }

    /// WAIT for the u64 at `address`.
    pub fn wait(&self, address: u64, value: u64, deadline: u64) -> nix::Result<()> {
        self.kernel.wait(&Wait { queue: self.number, flags: 0, address, value, deadline })
    }

    /// Takes it from the device; its number may be another queue's afterwards.
    pub fn destroy(&mut self) -> nix::Result<()> {
        self.destroyed = true;
        self.kernel.queue_destroy(self.number)
    }
}

/// Fence value of the command at a ring index; never that of the one before it in the slot.
fn fence_of(index: u32) -> u64 {
    u64::from(index) + 1
}

impl Drop for RawQueue {
    fn drop(&mut self) {
        if !self.destroyed {
            // It fails in a forked child only, whose queue it is not.
            let _ = self.destroy();
        }
    }
}
