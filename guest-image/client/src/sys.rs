// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The system calls: open, ioctl, mmap; and the one store that rings a doorbell.
#![allow(unsafe_code, reason = "raw system calls and mapped memory")]

use crate::kernel::{Doorbell, Kernel};
use farfault_abi::pci::DOORBELL_STRIDE;
use farfault_abi::uapi::{
    self, Advise, Info, Migrate, Prefetch, QueueCreate, QueueDestroy, Register, Snapshot,
    Unregister, Wait,
};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_ulong, c_void};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A page-aligned stretch of this process's memory, from `mmap`, zeroed or a
/// device's; unmapped when dropped.
pub struct Mapping {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to the process, not to a thread, and is reached
// only through atomics and volatile stores.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Fresh private memory of `length` bytes.
    pub fn anonymous(length: usize) -> nix::Result<Self> {
        Self::map(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// `length` bytes of the file `fd` from `offset`, shared, for reading and writing.
    pub fn shared(fd: BorrowedFd<'_>, length: usize, offset: u64) -> nix::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        Self::map(length, libc::MAP_SHARED, fd.as_raw_fd(), offset)
    }

    fn map(length: usize, flags: c_int, fd: c_int, offset: libc::off_t) -> nix::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so no memory in use is replaced.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, fd, offset) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let base = NonNull::new(base.cast()).ok_or(Errno::ENOMEM)?;
        Ok(Self { base, length })
    }

    /// Where it starts, as the device must be told.
    pub fn address(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    /// `count` 32-bit words from byte `offset`.
    pub(crate) fn words32(&self, offset: usize, count: usize) -> &[AtomicU32] {
        // SAFETY: mapped as long as self; atomics allow for the device's accesses.
        unsafe { std::slice::from_raw_parts(self.words(offset, count), count) }
    }

    /// `count` 64-bit words from byte `offset`.
    pub(crate) fn words64(&self, offset: usize, count: usize) -> &[AtomicU64] {
        // SAFETY: mapped as long as self; atomics allow for the device's accesses.
        unsafe { std::slice::from_raw_parts(self.words(offset, count), count) }
    }

    fn words<T>(&self, offset: usize, count: usize) -> *const T {
        let end = count.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(offset));
        let aligned = offset.is_multiple_of(size_of::<T>());
        assert!(aligned && end.is_some_and(|end| end <= self.length));
        // SAFETY: checked to be inside the mapping.
        unsafe { self.base.as_ptr().add(offset) }.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours, and nothing borrows it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast::<c_void>(), self.length) };
    }
}

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// `/dev/farfault0`, opened.
pub struct DeviceFile {
    file: OwnedFd,
}

impl DeviceFile {
    /// Opens the device at `path`; the caller's address space becomes its context.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file: file.into() })
    }

    /// # Safety
    /// `argument` is what the driver takes `request` to point to.
    unsafe fn ioctl<T>(&self, request: u32, argument: *mut T) -> nix::Result<()> {
        let fd = self.file.as_raw_fd();
        // SAFETY: as the caller promises.
        let result = unsafe { libc::ioctl(fd, c_ulong::from(request), argument) };
        Errno::result(result).map(drop)
    }
}

impl AsFd for DeviceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Kernel for DeviceFile {
    fn info(&self) -> nix::Result<Info> {
        let mut info = Info::default();
        // SAFETY: INFO fills in an Info.
        unsafe { self.ioctl(uapi::IOC_INFO, &raw mut info) }?;
        Ok(info)
    }

    unsafe fn queue_create(&self, request: &mut QueueCreate) -> nix::Result<()> {
        // SAFETY: QUEUE_CREATE reads and fills in a QueueCreate; the ring is the caller's care.
        unsafe { self.ioctl(uapi::IOC_QUEUE_CREATE, ptr::from_mut(request)) }
    }

    fn queue_destroy(&self, queue: u32) -> nix::Result<()> {
        let mut request = QueueDestroy { queue, flags: 0 };
        // SAFETY: QUEUE_DESTROY reads a QueueDestroy.
        unsafe { self.ioctl(uapi::IOC_QUEUE_DESTROY, &raw mut request) }
    }

    fn wait(&self, request: &Wait) -> nix::Result<()> {
        // SAFETY: WAIT reads a Wait; the address in it is only compared by the kernel.
        unsafe { self.ioctl(uapi::IOC_WAIT, ptr::from_ref(request).cast_mut()) }
    }

    fn prefetch(&self, request: &Prefetch) -> nix::Result<()> {
        // SAFETY: PREFETCH reads a Prefetch; making pages present changes no content.
        unsafe { self.ioctl(uapi::IOC_PREFETCH, ptr::from_ref(request).cast_mut()) }
    }

    fn snapshot(&self, address: u64, pages: &mut [u8]) -> nix::Result<()> {
        let mut request = Snapshot {
            address,
            length: (pages.len() as u64).checked_mul(PAGE).ok_or(Errno::EINVAL)?,
            pages: pages.as_mut_ptr().expose_provenance() as u64,
            reserved: 0,
        };
        // SAFETY: SNAPSHOT reads a Snapshot and writes a byte for each page of it.
        unsafe { self.ioctl(uapi::IOC_SNAPSHOT, &raw mut request) }
    }

    fn advise(&self, request: &Advise) -> nix::Result<()> {
        // SAFETY: ADVISE reads an Advise; advice changes no content.
        unsafe { self.ioctl(uapi::IOC_ADVISE, ptr::from_ref(request).cast_mut()) }
    }

    fn migrate(&self, request: &mut Migrate) -> nix::Result<()> {
        // SAFETY: MIGRATE reads and fills in a Migrate; what is in the pages stays as it is.
        unsafe { self.ioctl(uapi::IOC_MIGRATE, &raw mut *request) }
    }

    fn register(&self, request: &mut Register) -> nix::Result<()> {
        // SAFETY: REGISTER reads and fills in a Register; pinning pages changes no content.
        unsafe { self.ioctl(uapi::IOC_REGISTER, ptr::from_mut(request)) }
    }

    fn unregister(&self, request: &Unregister) -> nix::Result<()> {
        // SAFETY: UNREGISTER reads an Unregister.
        unsafe { self.ioctl(uapi::IOC_UNREGISTER, ptr::from_ref(request).cast_mut()) }
    }

    fn doorbell(&self, offset: u64) -> nix::Result<Box<dyn Doorbell>> {
        let page = Mapping::shared(self.as_fd(), DOORBELL_STRIDE as usize, offset)?;
        Ok(Box::new(DoorbellPage { page }))
    }
}

/// A doorbell page of the device, mapped.
struct DoorbellPage {
    page: Mapping,
}

impl Doorbell for DoorbellPage {
    fn ring(&self) {
        // The tail must be visible before the device is told to look at it; a
        // volatile store alone is not ordered against the atomic one before it.
        fence(Ordering::SeqCst);
        // SAFETY: the page is mapped for writing as long as self; the device
        // ignores the value.
        unsafe { self.page.base.as_ptr().cast::<u32>().write_volatile(1) };
    }
}
