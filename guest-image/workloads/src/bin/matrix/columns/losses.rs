// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns in which the device writes to a page that is clean and yet writable,
//! which `hmm_range_fault()` reports without a fault, and the page is then
//! reclaimed. Nothing but the driver can know that it must not be dropped.

use crate::calls::{self, MADV_FREE, MADV_PAGEOUT};
use crate::cell::Cell;
use crate::column::Column;
use crate::cpu::frames;
use crate::environment::{drain, drop_caches, needed, swapping_to};
use crate::model::{Holds, Mapped, STAMP};
use farfault_workloads::ktap::{Outcome, expect, expect_equal};
use nix::errno::Errno;
use nix::libc;
use std::os::unix::fs::FileExt;

pub const COLUMNS: &[Column] = &[
    Column::new("free-write", "MADV_FREE, the device writes, MADV_PAGEOUT", free).quiet(),
    Column::new("swapin-write", "swapped in by a read, written, swapped out", swap_in).quiet(),
    Column::new("hole-write", "a hole is read, written, and paged out", hole).quiet(),
    Column::new("sync-write", "written after msync, and read from the disk", sync).quiet(),
];

/// Has the kernel take all pages, and looks for what was in them.
fn reclaim(cell: &mut Cell<'_>) -> Outcome {
    // A page that turns out to be dirty after MADV_FREE is only taken the second time.
    for _ in 0..2 {
        drain()?;
        calls::advise(cell.subject.span, MADV_PAGEOUT)?;
    }
    expect("every page is reclaimed", frames(&cell.subject)?.iter().all(|frame| *frame == 0))?;
    cell.cpu_reads("read by the CPU after reclaim")?;
    cell.subject.samples.iter_mut().for_each(|sample| sample.mapped(Mapped::No));
    cell.device_reads("read by the device after reclaim")
}

fn free(cell: &mut Cell<'_>) -> Outcome {
    needed(&cell.environment.swap)?;
    cell.map()?;
    drain()?;
    calls::advise(cell.subject.span, MADV_FREE)?;
    cell.subject.whole = false;
    cell.subject.samples.iter_mut().for_each(|sample| sample.mapped(Mapped::No));
    cell.device_writes("write by the device after MADV_FREE")?;
    reclaim(cell)
}

fn swap_in(cell: &mut Cell<'_>) -> Outcome {
    swapping_to(needed(&cell.environment.swap_disk)?, || {
        cell.map()?;
        cell.subject.reading_maps(Mapped::Maybe);
        cell.subject.whole = false;
        reclaim(cell)?;
        cell.device_writes("write by the device after it was swapped in")?;
        reclaim(cell)
    })
}

fn hole(cell: &mut Cell<'_>) -> Outcome {
    let file = cell.subject.file.as_ref().ok_or(Errno::EBADF)?;
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    calls::allocate(file, mode, 0, cell.subject.span.length)?;
    cell.subject.samples.iter_mut().for_each(|sample| sample.becomes(0));
    cell.device_reads("read of the hole by the device")?;
    cell.device_writes("write by the device")?;
    reclaim(cell)
}

/// With nothing mapped, all pages of the file leave the page cache.
fn sync(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    calls::sync(cell.subject.span)?;
    cell.subject.samples.iter_mut().for_each(|sample| sample.mapped(Mapped::No));
    cell.device_writes("write by the device after msync")?;
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
    Ok(())
}
