// SPDX-License-Identifier: Apache-2.0 OR MIT
//! System calls on bare addresses. A cell takes its own memory apart on
//! purpose, which no owning type would allow.
#![allow(unsafe_code, reason = "raw mappings, of which nothing in the language keeps a reference")]

use nix::Result;
use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{null_mut, with_exposed_provenance_mut};

pub use libc::{
    MADV_COLLAPSE, MADV_DONTNEED, MADV_FREE, MADV_HUGEPAGE, MADV_HWPOISON, MADV_MERGEABLE,
    MADV_NORMAL, MADV_PAGEOUT, MADV_REMOVE, MADV_SOFT_OFFLINE, MAP_ANONYMOUS, MAP_HUGE_1GB,
    MAP_HUGETLB, MAP_PRIVATE, MAP_SHARED, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE,
    PROT_NONE, PROT_READ, PROT_WRITE,
};

/// Installs guard markers; the libc crate does not know it yet.
pub const MADV_GUARD_INSTALL: c_int = 102;

/// Persistent memory whose faults return only when the file system has committed.
pub const MAP_SYNC: c_int = libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC;

pub const READ_WRITE: c_int = PROT_READ | PROT_WRITE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub length: u64,
}

impl Span {
    pub fn end(self) -> u64 {
        self.start + self.length
    }

    pub fn contains(self, address: u64) -> bool {
        (self.start..self.end()).contains(&address)
    }

    fn base(self) -> *mut c_void {
        with_exposed_provenance_mut(self.start as usize)
    }

    fn bytes(self) -> usize {
        self.length as usize
    }
}

/// What backs a new mapping.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    Nothing,
    File(&'a File),
    At(BorrowedFd<'a>, u64),
}

/// Maps `length` bytes, which start at a multiple of `alignment`.
pub fn map(
    length: u64,
    alignment: u64,
    protection: c_int,
    flags: c_int,
    source: Source<'_>,
) -> Result<Span> {
    let span = reserve(length, alignment)?;
    if let Err(error) = map_over(span, protection, flags, source) {
        unmap(span)?;
        return Err(error);
    }
    Ok(span)
}

/// Where mmap or mremap has put something.
fn address(base: *mut c_void) -> Result<u64> {
    if base == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(base.expose_provenance() as u64) }
}

/// Maps over what was reserved.
pub fn map_over(span: Span, protection: c_int, flags: c_int, source: Source<'_>) -> Result<()> {
    let (flags, fd, offset) = match source {
        Source::Nothing => (flags | MAP_ANONYMOUS, -1, 0),
        Source::File(file) => (flags, file.as_raw_fd(), 0),
        Source::At(file, offset) => (flags, file.as_raw_fd(), offset as i64),
    };
    let flags = flags | libc::MAP_FIXED;
    // SAFETY: replaces what was reserved and nothing uses.
    let base = unsafe { libc::mmap(span.base(), span.bytes(), protection, flags, fd, offset) };
    address(base).map(drop)
}

/// Addresses that nothing else will be mapped at, without access, from a multiple of
/// `alignment` on.
pub fn reserve(length: u64, alignment: u64) -> Result<Span> {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let wide = length + alignment;
    // SAFETY: the kernel chooses the place, so nothing in use is replaced.
    let base = unsafe { libc::mmap(null_mut(), wide as usize, PROT_NONE, flags, -1, 0) };
    let first = address(base)?;
    let span = Span { start: first.next_multiple_of(alignment), length };
    unmap(Span { start: first, length: span.start - first })?;
    unmap(Span { start: span.end(), length: first + wide - span.end() })?;
    Ok(span)
}

pub fn unmap(span: Span) -> Result<()> {
    if span.length == 0 {
        return Ok(());
    }
    // SAFETY: the addresses are a subject's, to which there are no references.
    Errno::result(unsafe { libc::munmap(span.base(), span.bytes()) }).map(drop)
}

/// `mremap` to `length` bytes, to the address `to` if `flags` say so; gives the new place.
pub fn remap(from: Span, length: u64, flags: c_int, to: Span) -> Result<Span> {
    // SAFETY: as in unmap(); what lies at the target was reserved for it.
    let base =
        unsafe { libc::mremap(from.base(), from.bytes(), length as usize, flags, to.base()) };
    Ok(Span { start: address(base)?, length })
}

pub fn advise(span: Span, advice: c_int) -> Result<()> {
    // SAFETY: as in unmap().
    Errno::result(unsafe { libc::madvise(span.base(), span.bytes(), advice) }).map(drop)
}

pub fn protect(span: Span, protection: c_int) -> Result<()> {
    // SAFETY: as in unmap().
    Errno::result(unsafe { libc::mprotect(span.base(), span.bytes(), protection) }).map(drop)
}

pub fn lock(span: Span) -> Result<()> {
    // SAFETY: changes no content.
    Errno::result(unsafe { libc::mlock(span.base(), span.bytes()) }).map(drop)
}

/// Writes dirty pages of a mapping back to its file.
pub fn sync(span: Span) -> Result<()> {
    // SAFETY: changes no content of memory.
    Errno::result(unsafe { libc::msync(span.base(), span.bytes(), libc::MS_SYNC) }).map(drop)
}

/// Makes the heap longer by `length` bytes, which begin at the given address.
pub fn grow_heap(length: u64) -> Result<u64> {
    // SAFETY: the allocator gets along with others who use brk.
    let old = unsafe { libc::sbrk(length as libc::intptr_t) };
    if old.addr() == usize::MAX {
        return Err(Errno::last());
    }
    Ok(old.expose_provenance() as u64)
}

/// A System V shared memory segment, attached at `span`, which was reserved; it
/// goes with its last mapping.
pub fn attach(span: Span) -> Result<()> {
    // SAFETY: makes an object of the kernel's.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, span.bytes(), 0o600) };
    let id = Errno::result(id)?;
    // SAFETY: replaces a reservation, to which there are no references.
    let base = unsafe { libc::shmat(id, span.base(), libc::SHM_REMAP) };
    let error = Errno::last();
    // SAFETY: an ordinary system call; the segment stays while it is attached.
    unsafe { libc::shmctl(id, libc::IPC_RMID, null_mut()) };
    if base.addr() == usize::MAX { Err(error) } else { Ok(()) }
}

/// A file of hugetlb pages of 2 MiB, which exists in memory only.
pub fn huge_memory_file(length: u64) -> Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_HUGETLB;
    let file = File::from(memfd_create(c"matrix", flags)?);
    nix::unistd::ftruncate(&file, length as i64)?;
    Ok(file)
}

/// A ring buffer for packets that never come: pages of a driver, one block each.
pub fn packet_ring(pages: u64) -> Result<File> {
    const PACKET_RX_RING: c_int = 5;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let fd = socket.as_raw_fd();
    // struct tpacket_req: bytes and number of blocks, then of frames.
    let request = [4096_u32, pages as u32, 4096, pages as u32];
    let length = size_of_val(&request) as libc::socklen_t;
    let request = request.as_ptr().cast();
    // SAFETY: the kernel reads the array, which is as long as said.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, PACKET_RX_RING, request, length) };
    Errno::result(set)?;
    Ok(socket.into())
}
