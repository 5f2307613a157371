// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A shared mapping of a file that changes: CPU and device reach it by offset.
//!
//! A file may be cut, punched and rewritten while it is mapped, so there is
//! never a reference into the mapping: the CPU copies from and to it, and the
//! device is given addresses.
#![allow(unsafe_code, reason = "raw mappings, and addresses for the device")]

use crate::memory::{HUGE_PAGE, PAGE};
use crate::raw_queue::RawQueue;
use crate::{Failure, commands};
use farfault_client::raw::descriptor::{self as abi, Completion, Descriptor};
use farfault_client::raw::{Kernel, uapi};
use nix::errno::Errno;
use nix::libc::{self, c_int};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

/// How the device ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it, with this result.
    Done(u64),
    /// Up to an access that was refused.
    Refused {
        /// The access, as an offset into the mapping.
        offset: u64,
        /// Bytes done before it.
        done: u64,
    },
}

/// The same, or that it ended in no ordinary way.
pub type Answered = Result<Answer, Failure>;

/// The mapping, unmapped when dropped.
pub struct FileMapping {
    base: NonNull<u8>,
    length: usize,
    /// Whether a flush of the CPU's caches is all that its writes need to last.
    pub synchronous: bool,
}

impl FileMapping {
    /// `length` bytes from the start of `file`, which may be shorter; with
    /// MAP_SYNC where the file system has it.
    pub fn new(file: &File, length: usize) -> nix::Result<Self> {
        let map = |flags| {
            let (protection, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
            // SAFETY: the kernel chooses the place, so nothing in use is replaced.
            let base = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, fd, 0) };
            if base == libc::MAP_FAILED {
                return Err(Errno::last());
            }
            NonNull::new(base.cast()).ok_or(Errno::ENOMEM)
        };
        let (base, synchronous) = match map(libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC) {
            Ok(base) => (base, true),
            Err(Errno::EOPNOTSUPP | Errno::EINVAL) => (map(libc::MAP_SHARED)?, false),
            Err(error) => return Err(error),
        };
        Ok(Self { base, length, synchronous })
    }

    /// Has the CPU read from `offset`, which must not lie behind the file's last page.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Failure> {
        let from = self.place(offset, bytes.len())?;
        // SAFETY: inside the mapping, and no Rust reference points there.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Has the CPU write to `offset`, which must not lie behind the file's last page.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        let to = self.place(offset, bytes.len())?;
        // SAFETY: inside the mapping, and no Rust reference points there.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Has the device copy from `offset`.
    ///
    /// # Errors
    /// Outside the mapping, or if the command ended in no ordinary way; so for all.
    pub fn device_read(&self, queue: &mut RawQueue, offset: usize, bytes: &mut [u8]) -> Answered {
        let source = self.address(offset, bytes.len())?;
        let destination = bytes.as_mut_ptr().expose_provenance() as u64;
        self.run(queue, commands::copy(source, destination, bytes.len() as u64))
    }

    /// Has the device copy to `offset`.
    pub fn device_write(&self, queue: &mut RawQueue, offset: usize, bytes: &[u8]) -> Answered {
        let destination = self.address(offset, bytes.len())?;
        let source = bytes.as_ptr().expose_provenance() as u64;
        self.run(queue, commands::copy(source, destination, bytes.len() as u64))
    }

    /// Has the device set all bytes of `range` to `value`.
    pub fn device_fill(&self, queue: &mut RawQueue, range: Range<usize>, value: u8) -> Answered {
        let destination = self.address(range.start, range.len())?;
        let word = u64::from_le_bytes([value; 8]);
        self.run(queue, commands::fill(destination, range.len() as u64, word))
    }

    /// Has the device say where what is at `offset` first differs from `bytes`;
    /// their number if nowhere.
    pub fn device_compare(&self, queue: &mut RawQueue, offset: usize, bytes: &[u8]) -> Answered {
        let source = self.address(offset, bytes.len())?;
        let destination = bytes.as_ptr().expose_provenance() as u64;
        let length = bytes.len() as u64;
        self.run(queue, commands::command(abi::OP_COMPARE, source, destination, length))
    }

    /// Has the device add `value` to the u64 at `offset`; the result is the old one.
    pub fn device_add(&self, queue: &mut RawQueue, offset: usize, value: u64) -> Answered {
        let destination = self.address(offset, 8)?;
        self.run(queue, commands::add(destination, value))
    }

    /// How many times 2 MiB of the file are one entry of the CPU's page table, and mapped
    /// for the device as well.
    pub fn large_entries(&self, queue: &RawQueue) -> nix::Result<usize> {
        const WANTED: u32 = uapi::SNAPSHOT_2M | uapi::SNAPSHOT_MIRRORED;
        const LOOKED_AT: u32 = WANTED | uapi::SNAPSHOT_ZERO;
        let mut pages = vec![0; self.length / PAGE];
        queue.device().snapshot(self.start(), &mut pages)?;
        let large = pages.iter().filter(|&&page| u32::from(page) & LOOKED_AT == WANTED);
        Ok(large.count() / (HUGE_PAGE / PAGE))
    }

    /// Returns when the file holds what was written to `range`.
    pub fn sync(&self, range: Range<usize>) -> Result<(), Failure> {
        let start = range.start / PAGE * PAGE;
        let place = self.place(start, range.end - start)?;
        // SAFETY: no contents change.
        Errno::result(unsafe { libc::msync(place.cast(), range.end - start, libc::MS_SYNC) })?;
        Ok(())
    }

    /// `madvise` on the pages of `range`, with advice that loses nothing in a shared file.
    pub fn advise(&self, range: Range<usize>, advice: Advice) -> Result<(), Failure> {
        let start = range.start / PAGE * PAGE;
        let place = self.place(start, range.end - start)?;
        let advice: c_int = match advice {
            Advice::Unmap => libc::MADV_DONTNEED,
            Advice::PageOut => libc::MADV_PAGEOUT,
        };
        // SAFETY: the pages go from this mapping, or from memory; the file keeps them.
        Errno::result(unsafe { libc::madvise(place.cast(), range.end - start, advice) })?;
        Ok(())
    }

    fn run(&self, queue: &mut RawQueue, command: Descriptor) -> Answered {
        // SAFETY: the operands are inside the mapping, into which there are no
        // references, and a buffer that the caller has borrowed until this returns.
        let Completion { status, fault_address, result, done, .. } = unsafe { queue.run(command) }?;
        match status {
            abi::STATUS_OK => Ok(Answer::Done(result)),
            abi::STATUS_FAULT => {
                let offset = fault_address.wrapping_sub(self.start());
                Ok(Answer::Refused { offset, done })
            }
            _ => Err(format!("the device ended with status {status} at {fault_address:#x}").into()),
        }
    }

    fn start(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    fn address(&self, offset: usize, length: usize) -> Result<u64, Failure> {
        Ok(self.place(offset, length)?.expose_provenance() as u64)
    }

    fn place(&self, offset: usize, length: usize) -> Result<*mut u8, Failure> {
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(format!("{length} bytes at {offset:#x} are outside the mapping").into());
        }
        // SAFETY: inside the mapping.
        Ok(unsafe { self.base.as_ptr().add(offset) })
    }
}

impl Drop for FileMapping {
    fn drop(&mut self) {
        // SAFETY: a whole mapping that nothing refers to.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// What may be said about part of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// To be taken from the page tables.
    Unmap,
    /// To be reclaimed.
    PageOut,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::unnamed_file;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_cpu_reaches_the_file_through_the_mapping() {
        let file = unnamed_file(2 * PAGE as u64).unwrap();
        let mapping = FileMapping::new(&file, 2 * PAGE).unwrap();
        mapping.write(PAGE - 1, b"ab").unwrap();
        mapping.sync(PAGE - 1..PAGE + 1).unwrap();
        let mut bytes = [0; 2];
        file.read_exact_at(&mut bytes, PAGE as u64 - 1).unwrap();
        assert_eq!(&bytes, b"ab");
        mapping.advise(0..2 * PAGE, Advice::Unmap).unwrap();
        file.write_all_at(b"c", PAGE as u64).unwrap();
        mapping.read(PAGE - 1, &mut bytes).unwrap();
        assert_eq!(&bytes, b"ac");
    }

    #[test]
    fn what_is_outside_is_refused() {
        let file = unnamed_file(PAGE as u64).unwrap();
        let mapping = FileMapping::new(&file, PAGE).unwrap();
        assert!(mapping.write(PAGE, b"a").is_err());
        assert!(mapping.read(usize::MAX, &mut [0; 2]).is_err());
    }
}
