// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns in which the device writes to a page that is clean and yet writable,
//! which `hmm_range_fault()` reports without a fault, and the page is then
//! reclaimed. Nothing but the driver can know that it must not be dropped.
//!
//! A page of a disk's file is not writable while it is clean: the device's write is a
//! fault, and tells the file system. There the driver's mark matters only if it was
//! told to keep its access (`break_clean=1`).

use crate::calls::{self, MADV_FREE, MADV_PAGEOUT, MADV_REMOVE};
use crate::cell::Cell;
use crate::column::Column;
use crate::cpu::frames;
use crate::environment::{ONLY_SWAP, drop_caches, needed};
use crate::model::{Holds, Kind, Mapped, STAMP};
use crate::rig::deadline;
use crate::row::Rule::Senseless;
use farfault_guest_programs::kernel_files::drain;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::page_flags::{Frames, KPF_DIRTY, KPF_SWAPCACHE, KPF_WRITEBACK};
use farfault_guest_programs::pagemap::Pagemap;
use farfault_guest_programs::raw_queue;
use std::os::unix::fs::FileExt;

pub const COLUMNS: &[Column] = &[
    Column::new("free-write", "MADV_FREE, the device writes, MADV_PAGEOUT", free).quiet().but(&[(
        &[Kind::Disk, Kind::Shmem, Kind::Dax, Kind::Hugetlb, Kind::Device, Kind::Pageless],
        Senseless("MADV_FREE is for anonymous pages"),
    )]),
    Column::new("swapin-write", "swapped in by a read, written, swapped out", swap_in).quiet().but(
        &[(
            &[Kind::Disk, Kind::Dax, Kind::Hugetlb, Kind::Device, Kind::Pageless],
            Senseless("it is not swapped"),
        )],
    ),
    Column::new("hole-write", "a hole is read, written, and paged out", hole).quiet().but(&[(
        &[Kind::Anonymous, Kind::Disk, Kind::Dax, Kind::Hugetlb, Kind::Device, Kind::Pageless],
        Senseless("no hole is read without a page for it"),
    )]),
    Column::new("sync-write", "written after msync, and read from the disk", sync).quiet().but(&[
        (
            &[Kind::Anonymous, Kind::Shmem, Kind::Hugetlb, Kind::Device, Kind::Pageless],
            Senseless("there is no disk"),
        ),
    ]),
];

/// Has the kernel take all pages, and looks for what was in them.
fn reclaim(cell: &mut Cell<'_>) -> Outcome {
    page_out(cell)?;
    read_back(cell, "after reclaim")
}

fn page_out(cell: &Cell<'_>) -> Outcome {
    // A page that turns out to be dirty after MADV_FREE is only taken the second time.
    for _ in 0..2 {
        drain()?;
        calls::advise(cell.subject.span, MADV_PAGEOUT)?;
    }
    expect("every page is reclaimed", frames(&cell.subject)?.iter().all(|frame| *frame == 0))
}

fn read_back(cell: &mut Cell<'_>, when: &str) -> Outcome {
    cell.cpu_reads(&format!("read by the CPU {when}"))?;
    cell.subject.mapped(Mapped::No);
    cell.device_reads(&format!("read by the device {when}"))
}

fn free(cell: &mut Cell<'_>) -> Outcome {
    needed(&cell.environment.swap)?;
    cell.map()?;
    drain()?;
    calls::advise(cell.subject.span, MADV_FREE)?;
    cell.subject.whole = false;
    cell.subject.mapped(Mapped::No);
    cell.device_writes("write by the device after MADV_FREE")?;
    reclaim(cell)
}

fn swap_in(cell: &mut Cell<'_>) -> Outcome {
    let environment = cell.environment;
    environment.swapping_to_disk(|| {
        cell.map()?;
        cell.subject.reading_maps(Mapped::Maybe);
        cell.subject.whole = false;
        let before = frames(&cell.subject)?;
        page_out(cell)?;
        // A page of shmem leaves its place on swap when it is read in, and is dirty.
        let stays = !cell.row.shared;
        if stays {
            is_on_disk(cell, &before)?;
        }
        read_back(cell, "as it is swapped in")?;
        if stays {
            is_clean(cell)?;
        }
        cell.device_writes("write by the device after it was swapped in")?;
        reclaim(cell)
    })
}

/// All of it went to the disk, and has arrived there: of a page that is still being
/// written the kernel may map a copy, or not allow writes.
fn is_on_disk(cell: &Cell<'_>, before: &[u64]) -> Outcome {
    let pagemap = Pagemap::own()?;
    for sample in &cell.subject.samples {
        let place = pagemap.entry(sample.at)?.swap_type();
        expect_equal("device that a page was swapped to", &place, &Some(ONLY_SWAP))?;
    }
    let (all, deadline) = (Frames::open()?, deadline()?);
    for frame in before {
        while all.flags(*frame)?.has(KPF_WRITEBACK) {
            expect("what is swapped out is written in time", raw_queue::now()? < deadline)?;
            std::thread::yield_now();
        }
    }
    Ok(())
}

/// Each page still has its place on the disk, and is not known to differ from it: the
/// kernel can drop it as it is.
fn is_clean(cell: &Cell<'_>) -> Outcome {
    let all = Frames::open()?;
    for frame in frames(&cell.subject)? {
        let flags = all.flags(frame)?;
        let clean = !flags.has(KPF_DIRTY) && !flags.has(KPF_WRITEBACK);
        let told = format!("a page that was swapped in is clean, and on disk: {flags:x?}");
        expect(&told, flags.has(KPF_SWAPCACHE) && clean)?;
    }
    Ok(())
}

fn hole(cell: &mut Cell<'_>) -> Outcome {
    calls::advise(cell.subject.span, MADV_REMOVE)?;
    cell.subject.samples.iter_mut().for_each(|sample| sample.becomes(0));
    cell.device_reads("read of the hole by the device")?;
    cell.device_writes("write by the device")?;
    reclaim(cell)
}

/// With nothing mapped, all pages of the file leave the page cache.
fn sync(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    calls::sync(cell.subject.span)?;
    cell.subject.mapped(Mapped::No);
    // Judged last: whether it took the faults that tell the file system is one question,
    // what becomes of the words another, and a driver may have been told to break either.
    let written = cell.device_writes("write by the device after msync");
    let Some(file) = cell.subject.file.take() else { return Err("there is no file".into()) };
    let start = cell.subject.span.start;
    calls::unmap(cell.subject.span)?;
    file.sync_all()?;
    drop_caches()?;
    for sample in &cell.subject.samples {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, sample.at - start + STAMP)?;
        let word = Holds::Word(u64::from_le_bytes(word));
        expect_equal("word on the disk", &word, &sample.holds)?;
    }
    written
}
