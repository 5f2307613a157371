// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows of memory that is a file's, on a disk or not.

use crate::calls::{self, MAP_HUGE_1GB, MAP_HUGETLB, MAP_PRIVATE, MAP_SHARED, READ_WRITE, Source};
use crate::environment::{Environment, allow_gigantic_pages, drop_caches};
use crate::model::{GIGANTIC, HUGE, Kind, Mapped, STAMP, offsets, stamp};
use crate::row::Rule::{Refused, Runs, Senseless};
use crate::row::{Made, Row};
use crate::rows::FILE;
use crate::rows::anonymous::written;
use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::{file_in, memory_file};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub const ROWS: &[Row] = &[
    Row::new("private-file", "page cache mapped privately", Kind::Disk, on_ext4).read_first().but(
        &[
            (&["sync-write"], Senseless("the disk is not written to")),
            (&["reflink"], Refused(Errno::EOPNOTSUPP)),
        ],
    ),
    Row::new("private-file-cow", "private copies of a file's pages", Kind::Disk, on_ext4).but(&[
        (&["swapin-write", "ksm"], Runs),
        (&["sync-write"], Senseless("the disk is not written to")),
        (&["collapse"], Refused(Errno::EINVAL)),
        (&["reflink"], Refused(Errno::EOPNOTSUPP)),
        (&["split"], Senseless("nothing huge can be made of it")),
    ]),
    Row::new("file-ext4", "shared, page cache of ext4", Kind::Disk, on_ext4)
        .shared()
        .but(&[(&["reflink"], Refused(Errno::EOPNOTSUPP))]),
    Row::new("file-xfs", "shared, page cache of xfs", Kind::Disk, on_xfs).shared(),
    Row::new("file-tmpfs", "shared, of tmpfs", Kind::Shmem, on_tmpfs).shared(),
    Row::new("sysv-shm", "shared, of System V", Kind::Shmem, of_system_v)
        .shared()
        .but(&[(FILE, Senseless("there is no file"))]),
    Row::new("memfd", "shared, of no file system", Kind::Shmem, of_memfd).shared(),
    Row::new("dax-ext4", "shared, persistent memory of ext4", Kind::Dax, dax_ext4)
        .shared()
        .but(&[(&["reflink"], Refused(Errno::EOPNOTSUPP))]),
    Row::new("dax-xfs", "shared, persistent memory of xfs", Kind::Dax, dax_xfs).shared(),
    Row::new("dax-pmd", "of ext4, mapped by 2 MiB", Kind::Dax, dax_ext4)
        .sized(2 * HUGE, HUGE)
        .shared()
        .but(&[(&["reflink"], Refused(Errno::EOPNOTSUPP))]),
    Row::new("dax-xfs-pmd", "of xfs, mapped by 2 MiB", Kind::Dax, dax_xfs)
        .sized(2 * HUGE, HUGE)
        .shared(),
    Row::new("dax-sync", "with MAP_SYNC", Kind::Dax, dax_synchronous)
        .shared()
        .but(&[(&["reflink"], Refused(Errno::EOPNOTSUPP))]),
    Row::new("dax-xfs-sync", "of xfs, with MAP_SYNC", Kind::Dax, dax_xfs_synchronous).shared(),
    Row::new("dax-private", "private copies of its pages", Kind::Dax, dax_ext4).but(&[
        (&["swapin-write", "migrate", "pageout", "swap"], Runs),
        (&["sync-write"], Senseless("the disk is not written to")),
        (&["ksm"], Senseless("KSM leaves mappings of persistent memory alone")),
        (&["reflink", "to-device"], Refused(Errno::EOPNOTSUPP)),
    ]),
    Row::new("dax-xfs-private", "of xfs, private copies", Kind::Dax, dax_xfs).but(&[
        (&["swapin-write", "migrate", "pageout", "swap"], Runs),
        (&["sync-write"], Senseless("the disk is not written to")),
        (&["ksm"], Senseless("KSM leaves mappings of persistent memory alone")),
        (&["to-device"], Refused(Errno::EOPNOTSUPP)),
    ]),
    Row::new("hugetlb", "private hugetlb pages of 2 MiB", Kind::Hugetlb, huge)
        .sized(4 * HUGE, HUGE)
        .but(&[(FILE, Senseless("there is no file"))]),
    Row::new("hugetlb-file", "shared, a file of them", Kind::Hugetlb, huge_file)
        .sized(4 * HUGE, HUGE)
        .shared(),
    Row::new("hugetlb-1g", "a private hugetlb page of 1 GiB", Kind::Hugetlb, gigantic)
        .sized(GIGANTIC, GIGANTIC)
        .but(&[
            (FILE, Senseless("there is no file")),
            (&["munmap-front", "munmap-middle", "munmap-tail"], Refused(Errno::EINVAL)),
            (&["mremap-shrink"], Senseless("its one page is not cut")),
            (&["migrate"], Senseless("each page that is moved leaves 1 GiB out of use")),
        ]),
];

/// Maps `file`, after giving it its words.
fn mapped(row: &Row, file: File, length: u64) -> Made {
    mapped_by(sharing(row), row, file, length)
}

fn sharing(row: &Row) -> i32 {
    if row.shared { MAP_SHARED } else { MAP_PRIVATE }
}

fn mapped_by(flags: i32, row: &Row, file: File, length: u64) -> Made {
    stamp_file(&file, length)?;
    let mut subject = of_stamped(file, row, length, READ_WRITE, flags)?;
    if !row.shared || matches!(row.kind, Kind::Disk | Kind::Dax) {
        // A write to a private page copies it; one to a disk's page is announced.
        subject.reading_maps(Mapped::No);
    }
    Ok(subject)
}

/// Writes to a file what its samples are to hold.
pub fn stamp_file(file: &File, length: u64) -> Result<(), Failure> {
    for (number, offset) in (0..).zip(offsets(length)) {
        file.write_all_at(&stamp(1, number).to_le_bytes(), offset + STAMP)?;
    }
    Ok(())
}

/// Maps such a file.
pub fn of_stamped(file: File, row: &Row, length: u64, protection: i32, flags: i32) -> Made {
    let span = calls::map(length, row.alignment(length), protection, flags, Source::File(&file))?;
    let mut subject = row.at(span).stamped(1).originally();
    subject.file = Some(file);
    Ok(subject)
}

/// Whose pages are clean, as those of a file are that was there before.
fn on_disk(folder: &Path, row: &Row, length: u64) -> Made {
    let subject = mapped(row, file_in(folder, length)?, length)?;
    if let Some(file) = &subject.file {
        file.sync_all()?;
    }
    drop_caches()?;
    Ok(subject)
}

fn on_ext4(environment: &Environment, row: &Row, length: u64) -> Made {
    on_disk(environment.ext4()?, row, length)
}

fn on_xfs(environment: &Environment, row: &Row, length: u64) -> Made {
    on_disk(environment.xfs()?, row, length)
}

fn on_tmpfs(_: &Environment, row: &Row, length: u64) -> Made {
    mapped(row, file_in(Path::new("/tmp"), length)?, length)
}

fn of_memfd(_: &Environment, row: &Row, length: u64) -> Made {
    mapped(row, memory_file(length)?, length)
}

fn of_system_v(_: &Environment, row: &Row, length: u64) -> Made {
    let span = calls::reserve(length, row.alignment(length))?;
    calls::attach(span)?;
    written(row.at(span))
}

fn huge(_: &Environment, row: &Row, length: u64) -> Made {
    let flags = MAP_PRIVATE | MAP_HUGETLB;
    let span = calls::map(length, row.leaf, READ_WRITE, flags, Source::Nothing)?;
    written(row.at(span))
}

fn gigantic(_: &Environment, row: &Row, length: u64) -> Made {
    allow_gigantic_pages()?;
    let flags = MAP_PRIVATE | MAP_HUGETLB | MAP_HUGE_1GB;
    let span = calls::map(length, row.leaf, READ_WRITE, flags, Source::Nothing)?;
    written(row.at(span))
}

/// Files of hugetlb pages cannot be written to but through a mapping.
fn huge_file(_: &Environment, row: &Row, length: u64) -> Made {
    let file = calls::huge_memory_file(length)?;
    let span = calls::map(length, row.leaf, READ_WRITE, MAP_SHARED, Source::File(&file))?;
    let mut subject = written(row.at(span))?.originally();
    subject.file = Some(file);
    Ok(subject)
}

/// A file with all its blocks in one piece, and all written: a page table entry
/// for 2 MiB must not lead to anything else.
fn on_dax(folder: &Path, row: &Row, flags: i32, length: u64) -> Made {
    let file = file_in(folder, length)?;
    fallocate(&file, FallocateFlags::empty(), 0, length as i64)?;
    file.write_all_at(&vec![0; length as usize], 0)?;
    mapped_by(flags, row, file, length)
}

fn dax_ext4(environment: &Environment, row: &Row, length: u64) -> Made {
    on_dax(environment.dax_ext4()?, row, sharing(row), length)
}

fn dax_xfs(environment: &Environment, row: &Row, length: u64) -> Made {
    on_dax(environment.dax_xfs()?, row, sharing(row), length)
}

fn dax_synchronous(environment: &Environment, row: &Row, length: u64) -> Made {
    on_dax(environment.dax_ext4()?, row, calls::MAP_SYNC, length)
}

fn dax_xfs_synchronous(environment: &Environment, row: &Row, length: u64) -> Made {
    on_dax(environment.dax_xfs()?, row, calls::MAP_SYNC, length)
}
