// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of a device that is mapped into this process, for a guest to see. This process does
//! not touch it: what a read or a write does there is the device's affair.
#![allow(unsafe_code)] // mmap() and munmap().

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

/// It stays where it is until this is dropped.
#[derive(Debug)]
pub struct Mapping {
    start: usize,
    size: NonZeroUsize,
}

impl Mapping {
    /// So many bytes of `file` from `offset` on, to be read and written.
    pub fn of(file: impl AsFd, offset: u64, size: u64) -> io::Result<Mapping> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let size = usize::try_from(size).ok().and_then(NonZeroUsize::new).ok_or_else(invalid)?;
        let offset = i64::try_from(offset).map_err(|_| invalid())?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so nothing that is mapped is replaced.
        let start = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, file, offset) }?;
        Ok(Mapping { start: start.as_ptr() as usize, size })
    }

    /// Where it is in this process.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.size.get() as u64
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Some(start) = NonNull::new(self.start as *mut _) else { return };
        // SAFETY: the range is the whole mapping made above, to which no reference was ever made.
        let _ = unsafe { munmap(start, self.size.get()) };
    }
}
