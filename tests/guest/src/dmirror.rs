// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `/dev/hmm_dmirrorN`, the interface of the kernel's HMM selftest, which our driver
//! offers or the kernel's module `test_hmm`.
#![allow(unsafe_code, reason = "gives the driver addresses that are wrong on purpose")]

use crate::Failure;
use crate::ktap::{Outcome, expect, expect_equal};
use crate::memory::{PAGE, Region};
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::os::fd::AsRawFd;

/// Command: the device reads pages into the buffer.
pub const READ: u32 = 0;
/// Command: the device writes pages from the buffer.
pub const WRITE: u32 = 1;
/// Command: pages go to the device's memory, and are read there into the buffer.
pub const MIGRATE_TO_DEVICE: u32 = 2;
/// Command: pages go to the system's memory.
pub const MIGRATE_TO_SYSTEM: u32 = 3;
/// Command: a byte for each page of how the CPU maps it.
pub const SNAPSHOT: u32 = 4;
/// Command: the device has pages for itself, and reads them into the buffer.
pub const EXCLUSIVE: u32 = 5;
/// Command: EPERM if it still has one of them.
pub const CHECK_EXCLUSIVE: u32 = 6;
/// Command: all pages leave the device's memory.
pub const RELEASE: u32 = 7;
/// Command: the next large page is refused, if bit 0 of the number of pages is set.
pub const FLAGS: u32 = 8;

/// Number of the first ioctl: `_IOWR('H', 0, struct hmm_dmirror_cmd)`.
const FIRST: u32 = 0xc028_4800;

/// `struct hmm_dmirror_cmd` (lib/test_hmm_uapi.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Argument {
    addr: u64,
    ptr: u64,
    npages: u64,
    cpages: u64,
    faults: u64,
}

/// What a command has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Pages.
    pub pages: u64,
    /// Faults that the device had.
    pub faults: u64,
}

/// An open node.
pub struct Node(pub File);

impl Node {
    /// Opens node `number`.
    pub fn open(number: u32) -> Result<Self, Failure> {
        let path = format!("/dev/hmm_dmirror{number}");
        let file = File::options().read(true).write(true).open(&path);
        Ok(Self(file.map_err(|error| format!("{path}: {error}"))?))
    }

    /// Command `number` on `npages` from `addr`, with the buffer at `ptr`.
    ///
    /// A rule of those who call it: what these name is either memory that nobody looks
    /// at until the command has ended, or it is nothing at all.
    pub fn call(&self, number: u32, addr: u64, ptr: u64, npages: u64) -> nix::Result<Done> {
        let mut argument = Argument { addr, ptr, npages, ..Argument::default() };
        self.raw(FIRST + number, (&raw mut argument).expose_provenance() as u64)?;
        Ok(Done { pages: argument.cpages, faults: argument.faults })
    }

    /// Any ioctl with any argument.
    pub fn raw(&self, request: u32, argument: u64) -> nix::Result<()> {
        let request = libc::c_ulong::from(request);
        // SAFETY: see call().
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) }).map(drop)
    }

    /// Has the device fill `region` with what is in `data`, which is as long.
    pub fn write(&self, region: &mut Region, data: &Region) -> nix::Result<Done> {
        self.call(WRITE, region.address(), data.address(), pages(region))
    }

    /// Has the device read `region` into `data`, which is as long.
    pub fn read(&self, region: &Region, data: &mut Region) -> nix::Result<Done> {
        self.call(READ, region.address(), data.address(), pages(region))
    }

    /// Moves `region` to the device's memory, where it is read into `data`, which is as long.
    pub fn take(&self, region: &Region, data: &mut Region) -> nix::Result<Done> {
        self.call(MIGRATE_TO_DEVICE, region.address(), data.address(), pages(region))
    }

    /// What the CPU maps at `addr`, a byte a page.
    pub fn snapshot(&self, addr: u64, npages: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0x77; npages];
        let ptr = bytes.as_mut_ptr().expose_provenance() as u64;
        let done = self.call(SNAPSHOT, addr, ptr, npages as u64)?;
        expect_equal("pages looked at", &done.pages, &(npages as u64))?;
        Ok(bytes)
    }

    /// Has a page written and read, to show that the node lives on.
    pub fn still_works(&self) -> Outcome {
        let (mut there, mut back) = (Region::anonymous(PAGE)?, Region::anonymous(PAGE)?);
        let data = numbered(1, 7)?;
        self.write(&mut there, &data).map_err(|error| format!("WRITE afterwards: {error}"))?;
        self.read(&there, &mut back).map_err(|error| format!("READ afterwards: {error}"))?;
        expect("the page afterwards is right", there[..] == data[..] && back[..] == data[..])
    }
}

/// Pages of a region.
pub fn pages(region: &Region) -> u64 {
    (region.len() / PAGE) as u64
}

/// Small pages, none of whose words is that of another, or of another `seed`.
pub fn numbered(npages: usize, seed: u64) -> Result<Region, Failure> {
    let mut region = Region::small_pages(npages * PAGE)?;
    for (word, number) in region.chunks_exact_mut(8).zip(0u64..) {
        word.copy_from_slice(&(number | seed << 40).to_ne_bytes());
    }
    Ok(region)
}
