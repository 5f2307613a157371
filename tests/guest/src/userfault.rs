// SPDX-License-Identifier: Apache-2.0 OR MIT
//! userfaultfd: a process, or another, that brings the pages of a region itself
//! (include/uapi/linux/userfaultfd.h).
#![allow(unsafe_code, reason = "ioctls on raw addresses")]

use crate::Failure;
use crate::ktap::Outcome;
use crate::memory::Region;
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::thread;

/// What a handler is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Pages that nobody has written yet.
    Missing,
    /// To allow a write to a page that is protected from it.
    WriteProtected,
    /// To map a page that a file has already.
    Minor,
}

impl Mode {
    fn bit(self) -> u64 {
        match self {
            Self::Missing => 1 << 0,
            Self::WriteProtected => 1 << 1,
            Self::Minor => 1 << 2,
        }
    }
}

/// The structs of the header are arrays of 64-bit words.
mod ioctls {
    #![allow(missing_docs, reason = "named as in the kernel's header")]
    nix::ioctl_readwrite!(uffdio_api, 0xaa, 0x3f, [u64; 3]);
    nix::ioctl_readwrite!(uffdio_register, 0xaa, 0x00, [u64; 4]);
    nix::ioctl_read!(uffdio_wake, 0xaa, 0x02, [u64; 2]);
    nix::ioctl_readwrite!(uffdio_copy, 0xaa, 0x03, [u64; 5]);
    nix::ioctl_readwrite!(uffdio_move, 0xaa, 0x05, [u64; 5]);
    nix::ioctl_readwrite!(uffdio_writeprotect, 0xaa, 0x06, [u64; 3]);
    nix::ioctl_readwrite!(uffdio_continue, 0xaa, 0x07, [u64; 4]);
}
use ioctls::{
    uffdio_api, uffdio_continue, uffdio_copy, uffdio_move, uffdio_register, uffdio_wake,
    uffdio_writeprotect,
};

const API: u64 = 0xaa;
/// WP on shared memory, MINOR on shared memory.
const FEATURES: u64 = 1 << 10 | 1 << 12;
const EVENT_PAGEFAULT: u8 = 0x12;
const MESSAGE: usize = 32;
const PAGE: u64 = 4096;

/// Does `work` while a thread does `serve`, and gives what that has come to.
pub fn served<T: Send>(
    serve: impl FnOnce() -> Result<T, Failure> + Send,
    work: impl FnOnce() -> Outcome,
) -> Result<T, Failure> {
    thread::scope(|scope| {
        let handler = scope.spawn(serve);
        work()?;
        handler.join().map_err(|_| "the handler panicked")?
    })
}

/// A userfaultfd of this process.
pub struct Userfault {
    file: File,
}

impl Userfault {
    /// For faults of the kernel as well: what the device needs is one.
    pub fn open() -> nix::Result<Self> {
        // SAFETY: makes a file descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let fd = i32::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
        // SAFETY: a new descriptor that nobody else has.
        let file = unsafe { File::from_raw_fd(fd) };
        // api, features, ioctls
        let mut api = [API, FEATURES, 0];
        // SAFETY: writes to `api` only.
        unsafe { uffdio_api(file.as_raw_fd(), &raw mut api) }?;
        Ok(Self { file })
    }

    /// Small pages that it is in charge of, and none of which is there.
    pub fn missing(length: usize) -> nix::Result<(Region, Self)> {
        let (region, userfault) = (Region::small_pages(length)?, Self::open()?);
        userfault.register(region.address(), length, Mode::Missing)?;
        Ok((region, userfault))
    }

    /// Takes charge of `length` bytes from `start`.
    pub fn register(&self, start: u64, length: usize, mode: Mode) -> nix::Result<()> {
        // start, len, mode, ioctls
        let mut register = [start, length as u64, mode.bit(), 0];
        // SAFETY: contents stay as they are until the handler acts.
        unsafe { uffdio_register(self.file.as_raw_fd(), &raw mut register) }.map(drop)
    }

    /// Waits for the next page that is asked for, and gives its address.
    pub fn next(&self) -> std::io::Result<u64> {
        let mut message = [0; MESSAGE];
        (&self.file).read_exact(&mut message)?;
        if message[0] != EVENT_PAGEFAULT {
            return Err(std::io::Error::other(format!("userfaultfd event {:#x}", message[0])));
        }
        let address: [u8; 8] = message[16..24].try_into().map_err(std::io::Error::other)?;
        Ok(u64::from_ne_bytes(address) & !(PAGE - 1))
    }

    /// Brings a missing page with these bytes.
    ///
    /// # Errors
    /// As the kernel answers; EEXIST if it is there.
    pub fn bring(&self, page: u64, bytes: &[u8; PAGE as usize]) -> nix::Result<()> {
        let source = bytes.as_ptr().expose_provenance() as u64;
        // dst, src, len, mode, copy
        let mut copy = [page, source, PAGE, 0, 0];
        // SAFETY: fills a page that nobody has seen yet.
        unsafe { uffdio_copy(self.file.as_raw_fd(), &raw mut copy) }.map(drop)
    }

    /// Brings a missing page by moving another one, at `from`, which is missing then.
    ///
    /// # Errors
    /// As the kernel answers; EAGAIN and EBUSY if somebody has it in hand.
    pub fn move_page(&self, from: u64, page: u64) -> nix::Result<()> {
        // dst, src, len, mode, move
        let mut order = [page, from, PAGE, 0, 0];
        // SAFETY: fills a page that nobody has seen yet, and nothing borrows the other one.
        unsafe { uffdio_move(self.file.as_raw_fd(), &raw mut order) }.map(drop)
    }

    /// Protects pages from being written, or lets them be written again.
    pub fn protect(&self, start: u64, length: usize, protect: bool) -> nix::Result<()> {
        // start, len, mode
        let mut range = [start, length as u64, u64::from(protect)];
        // SAFETY: contents do not change.
        unsafe { uffdio_writeprotect(self.file.as_raw_fd(), &raw mut range) }.map(drop)
    }

    /// Maps a page that the file has.
    pub fn map(&self, page: u64) -> nix::Result<()> {
        // start, len, mode, mapped
        let mut range = [page, PAGE, 0, 0];
        // SAFETY: contents do not change.
        unsafe { uffdio_continue(self.file.as_raw_fd(), &raw mut range) }.map(drop)
    }

    /// Has whoever waits for a page look again: it is there.
    pub fn wake(&self, page: u64) -> nix::Result<()> {
        // start, len
        let mut range = [page, PAGE];
        // SAFETY: changes no memory.
        unsafe { uffdio_wake(self.file.as_raw_fd(), &raw mut range) }.map(drop)
    }
}
