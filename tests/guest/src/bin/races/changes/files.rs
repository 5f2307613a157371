// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Changes of files behind the pages.
#![allow(unsafe_code, reason = "sync_file_range is not to be had otherwise")]

use crate::arena::Backing;
use crate::kind::{Kind, SMALL, Set};
use crate::layout::{STAMPS, WORDS};
use crate::stage::{Change, Stage};
use crate::system::ext4;
use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::{PAGE, file_in, memory_file};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::{self, c_int};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

pub const KINDS: &[Kind] = &[
    Kind::new("private_file", |salt| in_memory(salt, libc::MAP_PRIVATE, private)).halved(),
    Kind::new("map_over_file", replace).halved(),
    Kind::new("truncate", |salt| in_memory(salt, libc::MAP_SHARED, truncate)).halved(),
    Kind::new("punch_hole", |salt| in_memory(salt, libc::MAP_SHARED, punch)).halved(),
    Kind::new("truncate_ext4", |salt| on_ext4(salt, truncate)).halved(),
    Kind::new("punch_hole_ext4", |salt| on_ext4(salt, punch)).halved(),
    Kind::new("writeback", |salt| on_ext4(salt, writeback)),
];

const LENGTH: u64 = (SMALL * PAGE) as u64;
/// Pages that are mapped over together: no more than one mapping.
const BLOCK: usize = 8;

fn replace(salt: u64) -> Result<Set, Failure> {
    let file = memory_file(2 * LENGTH)?;
    let mut halves = [0; SMALL / BLOCK];
    let change = move |stage: &mut Stage<'_>| map_over(stage, &mut halves);
    Set::new(salt, Backing::File(file, libc::MAP_SHARED), SMALL, change)
}

fn in_memory(salt: u64, sharing: c_int, change: impl Change + 'static) -> Result<Set, Failure> {
    Set::new(salt, Backing::File(memory_file(LENGTH)?, sharing), SMALL, change)
}

fn on_ext4(salt: u64, change: impl Change + 'static) -> Result<Set, Failure> {
    Set::new(salt, Backing::File(file_in(ext4()?, LENGTH)?, libc::MAP_SHARED), SMALL, change)
}

pub fn file<'a>(stage: &Stage<'a>) -> Result<&'a File, Failure> {
    stage.arena.file().ok_or_else(|| "there is no file".into())
}

/// mmap over what is there, of pages of the same file: all that is ever mapped stays
/// in memory, with what it had. For each block `halves` has the half of the file that
/// is mapped.
fn map_over(stage: &mut Stage<'_>, halves: &mut [usize]) -> Result<(), Failure> {
    let block = stage.random.below(halves.len());
    let pages = block * BLOCK..(block + 1) * BLOCK;
    let half = 1 - halves[block];
    let first = half * SMALL + pages.start;
    stage.ledger.announce(pages.clone());
    let mut words = [[0_u64; WORDS]; BLOCK];
    for (page, words) in pages.clone().zip(&mut words) {
        STAMPS.iter().for_each(|&word| words[word] = stage.ledger.stamp(page));
    }
    let bytes: Vec<u8> = words.iter().flatten().flat_map(|word| word.to_ne_bytes()).collect();
    file(stage)?.write_all_at(&bytes, (first * PAGE) as u64)?;
    stage.arena.map_from(pages.clone(), first, true)?;
    stage.ledger.publish(pages);
    halves[block] = half;
    Ok(())
}

/// MADV_DONTNEED on a private file mapping: the device may then have the page
/// cache's page, which a write by the CPU or the device parts from it again.
fn private(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    stage.ledger.announce(pages.clone());
    stage.arena.advise(pages.clone(), libc::MADV_DONTNEED)?;
    let page = stage.one_of(&pages);
    stage.read(0, page..page + 1)?;
    stage.fill(&pages)
}

/// ftruncate to a part of the file, and back to all of it.
fn truncate(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let start = stage.choose().start;
    let file = file(stage)?;
    let cut = || Ok(file.set_len((start * PAGE) as u64)?);
    stage.without(&(start..SMALL), cut, || Ok(file.set_len(LENGTH)?))
}

/// A hole in the file: its pages are zero from then on.
fn punch(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    let file = file(stage)?;
    stage.ledger.announce(pages.clone());
    punch_hole(file, &pages)?;
    stage.fill(&pages)
}

pub fn punch_hole(file: &File, pages: &Range<usize>) -> nix::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    allocate(file, flags, pages)
}

/// fallocate on pages of a file.
pub fn allocate(file: &File, flags: FallocateFlags, pages: &Range<usize>) -> nix::Result<()> {
    let offset = |page: usize| (page * PAGE) as libc::off_t;
    loop {
        match fallocate(file, flags, offset(pages.start), offset(pages.len())) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Writes pages of a file back and waits for it, which is all that msync does to the
/// pages; what takes it long is to have the file system's own records on the disk.
fn write_back(file: &File, pages: &Range<usize>) -> nix::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let offset = |page: usize| (page * PAGE) as libc::off64_t;
    let (start, length) = (offset(pages.start), offset(pages.len()));
    // SAFETY: contents do not change.
    Errno::result(unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, flags) })
        .map(drop)
}

/// msync, after which pages are clean; then reclaim, which drops clean ones.
fn writeback(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    let page = stage.one_of(&pages);
    stage.add(page)?;
    if stage.is_close() {
        stage.arena.sync(pages.clone())?;
    } else {
        write_back(file(stage)?, &pages)?;
    }
    stage.add(page)?;
    stage.arena.advise(pages, libc::MADV_PAGEOUT)?;
    stage.probe.seen(0, page)?;
    stage.add(page)
}
