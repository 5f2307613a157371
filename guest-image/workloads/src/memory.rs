// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of every kind that a process can have, straight from `mmap`.
#![allow(unsafe_code, reason = "raw mappings")]

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::Error;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a small page.
pub const PAGE: usize = 4096;
/// Bytes of a huge page.
pub const HUGE_PAGE: usize = 2 << 20;

pub use libc::{MADV_DONTFORK, MADV_DONTNEED, MADV_REMOVE};

/// Who sees what is written to a file's mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Sharing {
    /// This process only.
    Private = libc::MAP_PRIVATE,
    /// Everybody, the file included.
    Shared = libc::MAP_SHARED,
}

/// What may be done with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Access {
    /// Nothing.
    None = libc::PROT_NONE,
    /// Reading.
    Read = libc::PROT_READ,
    /// Reading and writing.
    Write = libc::PROT_READ | libc::PROT_WRITE,
    /// Writing, and no reading; processors have no such thing, but the kernel has.
    WriteOnly = libc::PROT_WRITE,
}

impl Access {
    /// As mmap and mprotect have it.
    pub fn protection(self) -> c_int {
        self as c_int
    }
}

/// A mapping of its own, unmapped when dropped.
///
/// It derefs to its bytes; whoever maps it without access, unmaps part of it, or
/// changes its file from elsewhere must not use those.
pub struct Region {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: memory belongs to the process, not to a thread.
unsafe impl Send for Region {}

impl Region {
    /// Private memory, huge pages as the system likes.
    pub fn anonymous(length: usize) -> nix::Result<Self> {
        Self::map(length, Access::Write, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// Private memory that consists of small pages.
    pub fn small_pages(length: usize) -> nix::Result<Self> {
        let region = Self::anonymous(length)?;
        region.advise(libc::MADV_NOHUGEPAGE)?;
        Ok(region)
    }

    /// Private memory, aligned for huge pages and made of them as far as the
    /// system has any; `length` is rounded up.
    pub fn huge_pages(length: usize) -> nix::Result<Self> {
        let length = length.next_multiple_of(HUGE_PAGE);
        let mut wide = std::mem::ManuallyDrop::new(Self::anonymous(length + HUGE_PAGE)?);
        let start = wide.base.as_ptr();
        let skip = start.align_offset(HUGE_PAGE);
        // SAFETY: skip is at most HUGE_PAGE, so this stays in the wide mapping.
        let base = unsafe { wide.base.add(skip) };
        // SAFETY: the end of the aligned part is at most the end of the wide mapping.
        let end = unsafe { base.add(length) };
        wide.length = length;
        unmap(start, skip);
        unmap(end.as_ptr(), HUGE_PAGE - skip);
        let region = Self { base, length };
        region.advise(libc::MADV_HUGEPAGE)?;
        Ok(region)
    }

    /// Memory shared with children, without a file.
    pub fn shared_anonymous(length: usize) -> nix::Result<Self> {
        Self::map(length, Access::Write, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    /// The first `length` bytes of `file`.
    pub fn of_file(
        file: &File,
        length: usize,
        sharing: Sharing,
        access: Access,
    ) -> nix::Result<Self> {
        Self::map(length, access, sharing as c_int, file.as_raw_fd())
    }

    fn map(length: usize, access: Access, flags: c_int, fd: c_int) -> nix::Result<Self> {
        let protection = access.protection();
        // SAFETY: the kernel chooses the place, so nothing in use is replaced.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let base = NonNull::new(base.cast()).ok_or(Errno::ENOMEM)?;
        Ok(Self { base, length })
    }

    /// Where it starts.
    pub fn address(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    /// `madvise` on all of it.
    pub fn advise(&self, advice: c_int) -> nix::Result<()> {
        self.advise_range(0, self.length, advice)
    }

    /// `madvise` on `length` bytes from `offset`.
    ///
    /// # Errors
    /// As the kernel answers; EINVAL outside the region.
    pub fn advise_range(&self, offset: usize, length: usize, advice: c_int) -> nix::Result<()> {
        let start = self.part(offset, length)?;
        // SAFETY: inside this mapping, whose owner expects what the advice does.
        Errno::result(unsafe { libc::madvise(start.cast(), length, advice) }).map(drop)
    }

    /// `mprotect` on `length` bytes from `offset`.
    ///
    /// # Errors
    /// As the kernel answers; EINVAL outside the region.
    pub fn protect(&self, offset: usize, length: usize, access: Access) -> nix::Result<()> {
        let start = self.part(offset, length)?.cast();
        // SAFETY: inside this mapping; the owner does not touch it against its protection.
        Errno::result(unsafe { libc::mprotect(start, length, access.protection()) }).map(drop)
    }

    /// Leaves a hole of `length` bytes at `offset`, which nothing else is
    /// mapped into as long as the program maps nothing.
    ///
    /// # Errors
    /// EINVAL outside the region.
    pub fn punch(&self, offset: usize, length: usize) -> nix::Result<()> {
        unmap(self.part(offset, length)?, length);
        Ok(())
    }

    /// Maps new memory in its place.
    pub fn renew(&mut self) -> nix::Result<()> {
        let access = Access::Write.protection();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: self is borrowed exclusively, and only its own memory is replaced.
        let base =
            unsafe { libc::mmap(self.base.as_ptr().cast(), self.length, access, flags, -1, 0) };
        if base == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
    }

    /// Where it lies, for advice while it is borrowed.
    pub fn place(&self) -> Place {
        Place { start: self.base, length: self.length }
    }

    /// Moves it to another place, contents and all.
    pub fn relocate(&mut self) -> nix::Result<()> {
        // A mapping of the same size names a place that is free.
        let mut place = std::mem::ManuallyDrop::new(Self::anonymous(self.length)?);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let (from, to) = (self.base.as_ptr().cast(), place.base.as_ptr().cast::<c_void>());
        // SAFETY: self is borrowed exclusively, and what is replaced is unused.
        let base = unsafe { libc::mremap(from, self.length, self.length, flags, to) };
        if base == libc::MAP_FAILED {
            let error = Errno::last();
            // SAFETY: not moved there, so it is still its own, and dropped once.
            unsafe { std::mem::ManuallyDrop::drop(&mut place) };
            return Err(error);
        }
        self.base = place.base;
        Ok(())
    }

    fn part(&self, offset: usize, length: usize) -> nix::Result<*mut u8> {
        let end = offset.checked_add(length).ok_or(Errno::EINVAL)?;
        if end > self.length {
            return Err(Errno::EINVAL);
        }
        // SAFETY: inside the mapping.
        Ok(unsafe { self.base.as_ptr().add(offset) })
    }
}

impl Deref for Region {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: mapped as long as self; see the type for what its owner minds.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.length) }
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped as long as self, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.length) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        unmap(self.base.as_ptr(), self.length);
    }
}

/// Advice that moves pages about and leaves their contents alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Gentle {
    /// Wanted less than others.
    Cold = libc::MADV_COLD,
    /// To be reclaimed now.
    PageOut = libc::MADV_PAGEOUT,
    /// To be made of huge pages now.
    Collapse = libc::MADV_COLLAPSE,
}

/// Where a region lies, or has lain.
#[derive(Clone, Copy)]
pub struct Place {
    start: NonNull<u8>,
    length: usize,
}

impl Place {
    /// A sum over samples of the memory, which must still be mapped.
    ///
    /// # Safety
    /// It is, and can be read. Others may write to it meanwhile.
    pub unsafe fn samples(&self) -> u64 {
        const STRIDE: usize = 512;
        (0..self.length / STRIDE).fold(0, |sum: u64, sample| {
            // SAFETY: inside the place.
            let word = unsafe { self.start.add(sample * STRIDE) }.cast::<u64>();
            // SAFETY: mapped, as the caller promises, and aligned as pages are.
            sum.rotate_left(1) ^ unsafe { word.read_volatile() }
        })
    }

    /// Gives advice that the kernel may decline; says whether it did not.
    pub fn advise(&self, advice: Gentle) -> bool {
        // SAFETY: no contents change, whatever is mapped there by now.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.length, advice as c_int) == 0 }
    }
}

fn unmap(start: *mut u8, length: usize) {
    if length > 0 {
        // SAFETY: part of a mapping that its owner gives up.
        unsafe { libc::munmap(start.cast(), length) };
    }
}

/// Lets programs ask for huge pages; Linux forbids it where there is little memory.
pub fn allow_huge_pages() -> std::io::Result<()> {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    if std::fs::read_to_string(path)?.contains("[never]") {
        std::fs::write(path, "madvise")?;
    }
    Ok(())
}

/// An address at which nothing is, with `length` bytes of nothing behind it.
pub fn nowhere(length: usize) -> nix::Result<u64> {
    let region = Region::anonymous(length)?;
    Ok(region.address()) // unmapped here
}

/// A file that exists in memory only, of `length` zero bytes.
pub fn memory_file(length: u64) -> std::io::Result<File> {
    let file = File::from(memfd_create(c"farfault", MFdFlags::MFD_CLOEXEC)?);
    file.set_len(length)?;
    Ok(file)
}

/// A file below the folder for temporary files, of `length` zero bytes, without
/// a name any more.
pub fn unnamed_file(length: u64) -> std::io::Result<File> {
    file_in(&std::env::temp_dir(), length)
}

/// The same in any folder.
pub fn file_in(folder: &Path, length: u64) -> std::io::Result<File> {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("farfault-{}-{number}", std::process::id()));
    let told = |error: Error| Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(told)?;
    std::fs::remove_file(&path)?;
    file.set_len(length)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn huge_regions_are_aligned() {
        let mut region = Region::huge_pages(1).unwrap();
        assert_eq!(region.len(), HUGE_PAGE);
        assert!(region.address().is_multiple_of(HUGE_PAGE as u64));
        region.fill(7);
        assert_eq!(region[HUGE_PAGE - 1], 7);
    }

    #[test]
    fn a_relocated_region_keeps_its_contents() {
        let mut region = Region::anonymous(3 * PAGE).unwrap();
        region.fill(9);
        let before = region.address();
        region.relocate().unwrap();
        assert_ne!(region.address(), before);
        assert!(region.iter().all(|&byte| byte == 9));
    }

    #[test]
    fn only_a_shared_mapping_reaches_the_file() {
        for (sharing, expected) in [(Sharing::Shared, 5), (Sharing::Private, 0)] {
            let mut file = unnamed_file(PAGE as u64).unwrap();
            let mut region = Region::of_file(&file, PAGE, sharing, Access::Write).unwrap();
            region[10] = 5;
            let mut read = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut read).unwrap();
            assert_eq!(read[10], expected, "{sharing:?}");
        }
    }

    #[test]
    fn parts_outside_the_region_are_refused() {
        let region = Region::anonymous(PAGE).unwrap();
        assert_eq!(region.punch(PAGE, 1), Err(Errno::EINVAL));
        assert_eq!(region.protect(usize::MAX, PAGE, Access::None), Err(Errno::EINVAL));
        assert_eq!(region.advise_range(0, PAGE + 1, MADV_DONTNEED), Err(Errno::EINVAL));
    }
}
