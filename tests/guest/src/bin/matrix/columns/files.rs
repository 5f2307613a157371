// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns that change the file behind a mapping.

use crate::calls;
use crate::cell::{Cell, Change, Effect, Mirror};
use crate::column::Column;
use crate::cpu::frames;
use crate::model::{Access, Holds, Kind, STAMP, Sample, Subject, TALLY};
use crate::row::Rule::{Refused, Senseless};
use crate::row::{Part, Rule};
use farfault_guest_programs::ktap::{Outcome, expect_equal};
use farfault_guest_programs::memory::{file_in, memory_file, unnamed_file};
use farfault_guest_programs::{Failure, reflink};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::sys::statfs::fstatfs;
use nix::{Result, libc};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

const NO_FILE: (&[Kind], Rule) =
    (&[Kind::Anonymous, Kind::Device, Kind::Pageless], Senseless("there is no file"));

pub const COLUMNS: &[Column] = &[
    Column::new("truncate", "the file is cut to three quarters, and made longer", truncate)
        .but(&[NO_FILE]),
    Column::new("punch-hole", "a hole in the middle half of the file", punch).but(&[NO_FILE]),
    Column::new("collapse-range", "a quarter is taken out of the file", collapse_range)
        .but(&[NO_FILE, (&[Kind::Shmem, Kind::Hugetlb], Refused(Errno::EOPNOTSUPP))]),
    Column::new("writeback", "msync and fsync", writeback).but(&[NO_FILE]),
    Column::new("reflink", "another file shares the blocks", reflink)
        .but(&[NO_FILE, (&[Kind::Shmem, Kind::Hugetlb], Refused(Errno::EOPNOTSUPP))]),
];

fn file(subject: &Subject) -> Result<&File> {
    subject.file.as_ref().ok_or(Errno::EBADF)
}

fn resize(file: &File, length: u64) -> Result<()> {
    nix::unistd::ftruncate(file, length as i64)
}

/// Persistent memory is taken out of page tables whole before blocks are.
fn taken_out(cell: &Cell<'_>) -> Mirror {
    if cell.row.kind == Kind::Dax { Mirror::AsCpu } else { Mirror::Zapped }
}

fn truncate(cell: &mut Cell<'_>) -> Outcome {
    let mirror = taken_out(cell);
    cell.change(&Change {
        part: Part::Tail,
        act: |subject, tail| resize(file(subject)?, subject.span.length - tail.length),
        effect: Effect::Removes,
        mirror,
    })?;
    // Of a file that cannot change its size not even the same one may be asked for.
    if cell.row.kind == Kind::Secret {
        return Ok(());
    }
    let tail = Part::Tail.of(cell.subject.span);
    let before = frames(&cell.subject)?;
    resize(file(&cell.subject)?, cell.subject.span.length)?;
    if cell.row.kind == Kind::Dax {
        cell.look_at_mirror(&before)?;
    }
    for sample in cell.subject.within(tail) {
        sample.holds = Holds::Word(0);
        sample.becomes(0);
    }
    cell.verify()
}

/// Pages of its own that a private mapping has are not the file's.
fn punch(cell: &mut Cell<'_>) -> Outcome {
    let own = !cell.row.shared && cell.row.touch == Access::Write;
    let mirror = if own { Mirror::AsCpu } else { taken_out(cell) };
    cell.change(&Change {
        part: Part::Middle,
        act: |subject, span| {
            let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let offset = span.start - subject.span.start;
            fallocate(file(subject)?, mode, offset as i64, span.length as i64)
        },
        effect: if own { Effect::Keeps } else { Effect::Clears },
        mirror,
    })
}

/// What was behind the part that goes moves to the front; what a private mapping had
/// of its own goes as well, or stays where it is.
fn collapse_range(cell: &mut Cell<'_>) -> Outcome {
    cell.change(&Change {
        part: Part::Whole,
        act: |subject, span| {
            let part = Part::Front.of(span).length;
            let mode = FallocateFlags::FALLOC_FL_COLLAPSE_RANGE;
            fallocate(file(subject)?, mode, part as i64, part as i64)?;
            // Of private copies ext4 leaves those before the part, xfs all in the file.
            let quarter = subject.samples.len() / 4;
            subject.whole = false;
            if !subject.shared && is_on_xfs(file(subject)?)? {
                let cut = subject.samples.len() - quarter;
                subject.samples[cut..].iter_mut().for_each(|sample| sample.holds = Holds::Nothing);
                return Ok(());
            }
            let shared = subject.shared;
            let word = |it: &Sample| if shared { it.holds } else { Holds::Word(it.original) };
            let words: Vec<Holds> = subject.samples.iter().map(word).collect();
            for (place, sample) in subject.samples.iter_mut().enumerate().skip(quarter) {
                sample.holds = words.get(place + quarter).copied().unwrap_or(Holds::Nothing);
                sample.intact = false;
            }
            Ok(())
        },
        effect: Effect::Keeps,
        mirror: Mirror::AsCpu,
    })
}

fn is_on_xfs(file: &File) -> Result<bool> {
    Ok(fstatfs(file)?.filesystem_type().0 == libc::XFS_SUPER_MAGIC)
}

/// Pages of a disk's file are cleaned, and have to be made writable anew.
fn writeback(cell: &mut Cell<'_>) -> Outcome {
    let cleaned = cell.row.shared && matches!(cell.row.kind, Kind::Disk | Kind::Dax);
    cell.change(&Change {
        part: Part::Whole,
        act: |subject, span| {
            calls::sync(span)?;
            nix::unistd::fsync(file(subject)?)
        },
        effect: Effect::Keeps,
        mirror: if cleaned { Mirror::Zapped } else { Mirror::Kept },
    })
}

/// The other file keeps what was there, whatever is written to the mapping.
fn reflink(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    let clone = clone_of(cell)?;
    let held: Vec<Holds> = cell.subject.samples.iter().map(|sample| sample.holds).collect();
    let before = frames(&cell.subject)?;
    let commands = cell.start_commands()?;
    let done = reflink::reflink(file(&cell.subject)?, &clone);
    let cloned = cell.was_done(done)? && cell.row.shared;
    // Commands under way go on to add to the one file.
    let sums = if cloned { words_in(&clone, &cell.subject, TALLY)? } else { Vec::new() };
    cell.look_at_mirror(&before)?;
    cell.look_at_all(commands)?;
    if cloned {
        // What is cached of the other one would not tell.
        posix_fadvise(&clone, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        let words = words_in(&clone, &cell.subject, STAMP)?;
        let words: Vec<Holds> = words.into_iter().map(Holds::Word).collect();
        expect_equal("words in the other file", &words, &held)?;
        let sums_now = words_in(&clone, &cell.subject, TALLY)?;
        expect_equal("sums in the other file", &sums_now, &sums)?;
    }
    Ok(())
}

/// A word of each sample, as it is in `file`.
fn words_in(file: &File, subject: &Subject, place: u64) -> std::result::Result<Vec<u64>, Failure> {
    let mut words = Vec::new();
    for sample in &subject.samples {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, sample.at - subject.span.start + place)?;
        words.push(u64::from_le_bytes(word));
    }
    Ok(words)
}

/// An empty file on the file system that the subject's is on.
fn clone_of(cell: &Cell<'_>) -> std::result::Result<File, Failure> {
    let wanted = file(&cell.subject)?.metadata()?.dev();
    let on_disks = cell.environment.in_use().map(|folder| file_in(folder, 0));
    let in_memory =
        [unnamed_file(0), memory_file(0), calls::huge_memory_file(0).map_err(Into::into)];
    for file in on_disks.chain(in_memory) {
        let file = file?;
        if file.metadata()?.dev() == wanted {
            return Ok(file);
        }
    }
    Err("there is no second file on this file system".into())
}
