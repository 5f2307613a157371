// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A buffer that the device reaches in one of the ways that are compared.
#![allow(unsafe_code, reason = "has the device use memory while the program changes its mapping")]

use farfault_client::raw::descriptor::{self as abi, Completion, Descriptor};
use farfault_client::raw::uapi::{PREFETCH_WRITE, Prefetch, REGISTER_WRITE, Register, Unregister};
use farfault_client::raw::{DeviceFile, Kernel};
use farfault_guest_programs::memory::Region;
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::{Failure, commands};
use std::sync::Arc;

/// Of what memory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    Small,
    Huge,
}

impl Backing {
    pub const ALL: [Self; 2] = [Self::Small, Self::Huge];

    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "4 KiB",
            Self::Huge => "2 MiB",
        }
    }

    /// Memory that nobody has touched, aligned to 2 MiB either way.
    pub fn fresh(self, bytes: usize) -> nix::Result<Region> {
        let region = Region::huge_pages(bytes)?;
        if self == Self::Small {
            region.advise(nix::libc::MADV_NOHUGEPAGE)?;
        }
        Ok(region)
    }
}

/// How the device comes to reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It faults.
    Mirror,
    /// The mirror, filled ahead.
    Prefetched,
    /// Pinned, mapped for DMA.
    Pinned,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Mirror, Self::Prefetched, Self::Pinned];
    pub const NAMES: [&str; 3] = ["mirror", "mirror, prefetched", "pinned"];
}

/// A context with a queue that is warm: its ring has been faulted in.
pub struct Rig {
    pub device: Arc<DeviceFile>,
    queue: RawQueue,
}

impl Rig {
    pub fn new() -> Result<Self, Failure> {
        let device = raw_queue::open()?;
        let mut rig = Self { queue: RawQueue::new(&device, 16)?, device };
        // Every entry and record of the ring, so that later counts are of the buffers alone.
        for _ in 0..16 {
            rig.done(commands::nop())?;
        }
        Ok(rig)
    }

    /// Has the device carry out a command, however it ends.
    pub fn run(&mut self, descriptor: Descriptor) -> Result<Completion, Failure> {
        // SAFETY: a rule of this program: descriptors name regions that live, in which
        // nothing is borrowed meanwhile.
        Ok(unsafe { self.queue.run(descriptor) }?)
    }

    /// Has it carry out one that must end well.
    pub fn done(&mut self, descriptor: Descriptor) -> Result<(), Failure> {
        let completion = self.run(descriptor)?;
        if completion.status != abi::STATUS_OK {
            let (status, address) = (completion.status, completion.fault_address);
            return Err(format!("status {status} at {address:#x}").into());
        }
        Ok(())
    }

    /// Makes `length` bytes from `address` present for writing.
    pub fn prefetch(&self, address: u64, length: usize) -> nix::Result<()> {
        let length = length as u64;
        self.device.prefetch(&Prefetch { address, length, flags: PREFETCH_WRITE, reserved: 0 })
    }
}

/// What the device needs to know of a region, which must outlive it.
pub struct Buffer {
    device: Arc<DeviceFile>,
    pinned: bool,
    /// What descriptors name.
    pub address: u64,
    pub length: u64,
}

impl Buffer {
    /// Does what the mode does before the first command.
    pub fn new(rig: &Rig, mode: Mode, region: &Region) -> nix::Result<Self> {
        let (address, length) = (region.address(), region.len() as u64);
        let mut buffer = Self { device: Arc::clone(&rig.device), pinned: false, address, length };
        match mode {
            Mode::Mirror => {}
            Mode::Prefetched => rig.prefetch(address, region.len())?,
            Mode::Pinned => {
                let flags = REGISTER_WRITE;
                let mut request = Register { address, length, flags, ..Register::default() };
                rig.device.register(&mut request)?;
                buffer.pinned = true;
                buffer.address = request.device_address;
            }
        }
        Ok(buffer)
    }

    /// A command that fills it with a byte.
    pub fn fill(&self, byte: u8) -> Descriptor {
        commands::fill(self.address, self.length, u64::from_le_bytes([byte; 8]))
    }

    /// A command that copies all of it to `target`.
    pub fn copy_to(&self, target: &Self) -> Descriptor {
        commands::copy(self.address, target.address, self.length)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.pinned {
            // It fails only where closing the file does the same.
            let _ =
                self.device.unregister(&Unregister { device_address: self.address, reserved: 0 });
        }
    }
}
