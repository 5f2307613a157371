// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pages that device and changes contend for, at addresses that are the same
//! in every process, far from where anything else is mapped.
#![allow(unsafe_code, reason = "raw mappings at fixed addresses")]

use crate::oracle::PLACES;
use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::{Access, PAGE};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Where the pages can lie. The kernel gives mappings that may be anywhere
/// addresses from the top down, so a hole here stays a hole.
const BASES: [u64; PLACES] = [0x2000_0000_0000, 0x2100_0000_0000];

/// What is behind the pages.
pub enum Backing {
    /// Private memory of small pages.
    Small,
    /// Private memory whose pages a userfaultfd handler brings.
    Brought,
    /// Private memory that may be of huge pages. Nothing advises it: touched before the
    /// advice, new pages would stay a mapping of their own, which no huge page can cross.
    Collapsible,
    /// Private memory of huge pages that are kept for this.
    Hugetlb,
    /// A file, shared with it or private.
    File(File, c_int),
}

pub struct Arena {
    backing: Backing,
    pages: usize,
    /// This process's memory as a file, which can be read whatever its protection.
    memory: File,
}

impl Arena {
    pub fn new(backing: Backing, pages: usize) -> Result<Self, Failure> {
        let memory = File::open("/proc/self/mem")?;
        let arena = Self { backing, pages, memory };
        arena.map(0..pages, false)?;
        Ok(arena)
    }

    pub fn pages(&self) -> usize {
        self.pages
    }

    pub fn address(&self, place: usize, page: usize) -> u64 {
        BASES[place] + (page * PAGE) as u64
    }

    pub fn file(&self) -> Option<&File> {
        match &self.backing {
            Backing::File(file, _) => Some(file),
            _ => None,
        }
    }

    /// Maps pages at the first place, over what is there if `replace`.
    pub fn map(&self, pages: Range<usize>, replace: bool) -> nix::Result<()> {
        let first = pages.start;
        self.map_from(pages, first, replace)
    }

    /// The same with the pages of the file from `first` on, if there is a file.
    pub fn map_from(&self, pages: Range<usize>, first: usize, replace: bool) -> nix::Result<()> {
        let (flags, fd) = match &self.backing {
            Backing::File(file, sharing) => (*sharing, file.as_raw_fd()),
            Backing::Hugetlb => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB, -1),
            _ => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        let fixed = if replace { libc::MAP_FIXED } else { libc::MAP_FIXED_NOREPLACE };
        let offset = if fd < 0 { 0 } else { (first * PAGE) as libc::off_t };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let (start, length) = self.span(0, &pages);
        // SAFETY: these addresses are the arena's alone.
        let mapped = unsafe { libc::mmap(start, length, protection, flags | fixed, fd, offset) };
        if mapped == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        match self.backing {
            Backing::Small | Backing::Brought => self.advise(pages, libc::MADV_NOHUGEPAGE),
            Backing::Collapsible | Backing::Hugetlb | Backing::File(..) => Ok(()),
        }
    }

    pub fn unmap(&self, place: usize, pages: Range<usize>) -> nix::Result<()> {
        let (start, length) = self.span(place, &pages);
        // SAFETY: these addresses are the arena's alone, and nothing borrows them.
        Errno::result(unsafe { libc::munmap(start, length) }).map(drop)
    }

    /// Moves pages from one place to the other. If `keep`, empty ones remain.
    pub fn relocate(&self, from: usize, pages: Range<usize>, keep: bool) -> nix::Result<()> {
        let (old, length) = self.span(from, &pages);
        let (new, _) = self.span(1 - from, &pages);
        let keep = if keep { libc::MREMAP_DONTUNMAP } else { 0 };
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | keep;
        // SAFETY: as for unmap().
        let moved = unsafe { libc::mremap(old, length, length, flags, new) };
        if moved == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
    }

    /// Shrinks or grows what is mapped at the first place, where it is.
    pub fn resize(&self, from: usize, to: usize) -> nix::Result<()> {
        let (start, old) = self.span(0, &(0..from));
        // SAFETY: as for unmap(); what it grows into is the arena's.
        let mapped = unsafe { libc::mremap(start, old, to * PAGE, 0) };
        if mapped == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
    }

    pub fn protect(&self, pages: Range<usize>, access: Access) -> nix::Result<()> {
        let (start, length) = self.span(0, &pages);
        // SAFETY: only the changer touches the arena by the CPU, and not meanwhile.
        Errno::result(unsafe { libc::mprotect(start, length, access.protection()) }).map(drop)
    }

    pub fn advise(&self, pages: Range<usize>, advice: c_int) -> nix::Result<()> {
        let (start, length) = self.span(0, &pages);
        // SAFETY: nothing borrows the arena, so its contents may change.
        Errno::result(unsafe { libc::madvise(start, length, advice) }).map(drop)
    }

    /// Writes pages back to their file, and waits for it.
    pub fn sync(&self, pages: Range<usize>) -> nix::Result<()> {
        let (start, length) = self.span(0, &pages);
        // SAFETY: contents do not change.
        Errno::result(unsafe { libc::msync(start, length, libc::MS_SYNC) }).map(drop)
    }

    /// Has the CPU store to a page that is mapped at the first place.
    pub fn store(&self, page: usize, word: usize, value: u64) {
        let pointer = self.word(page, word);
        // SAFETY: only the changer calls it, while it has the page mapped for writing.
        unsafe { pointer.write_volatile(value) };
    }

    /// Has the CPU of this process load from a page that it has mapped at the first place.
    pub fn peek(&self, page: usize, word: usize) -> u64 {
        let pointer = self.word(page, word);
        // SAFETY: only the changer, or a child of its, calls it, with the page mapped.
        unsafe { pointer.read_volatile() }
    }

    fn word(&self, page: usize, word: usize) -> *mut u64 {
        let address = self.address(0, page) as usize + word * 8;
        std::ptr::with_exposed_provenance_mut(address)
    }

    /// What the CPU's page table has at a word; an error where nothing is mapped.
    pub fn load(&self, place: usize, page: usize, word: usize) -> std::io::Result<u64> {
        // That file does not wait for a handler; but then nothing is ever unmapped.
        if matches!(self.backing, Backing::Brought) {
            return Ok(self.peek(page, word));
        }
        let mut bytes = [0; 8];
        let address = self.address(place, page) + word as u64 * 8;
        self.memory.read_exact_at(&mut bytes, address)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// All words of a page, as [`load`](Self::load) would give them.
    pub fn load_page(&self, place: usize, page: usize) -> std::io::Result<Vec<u64>> {
        let mut bytes = [0; PAGE];
        self.memory.read_exact_at(&mut bytes, self.address(place, page))?;
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        Ok(bytes.as_chunks().0.iter().map(word).collect())
    }

    fn span(&self, place: usize, pages: &Range<usize>) -> (*mut c_void, usize) {
        let start = self.address(place, pages.start) as usize;
        (std::ptr::with_exposed_provenance_mut(start), pages.len() * PAGE)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for place in 0..PLACES {
            // Whatever is left of it; it cannot fail for addresses like these.
            let _ = self.unmap(place, 0..self.pages);
        }
    }
}
