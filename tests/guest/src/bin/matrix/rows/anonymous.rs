// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows of anonymous memory, and of the states that it can be in.

use crate::calls::{
    self, MADV_GUARD_INSTALL, MADV_HUGEPAGE, MADV_MERGEABLE, MADV_NORMAL, MADV_PAGEOUT,
    MAP_PRIVATE, PROT_NONE, READ_WRITE, Source, Span,
};
use crate::cpu::{Cpu, frames};
use crate::environment::{Environment, needed};
use crate::ksm;
use crate::model::{Access, HUGE, Holds, Kind, LINK, Mapped, PAGE, Sample, Subject};
use crate::row::Rule::{Refused, Senseless};
use crate::row::{Made, Row};
use crate::rows::LOSSES;
use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::{drain, write};
use farfault_guest_programs::ktap::expect;
use farfault_guest_programs::page_flags::{Frames, KPF_COMPOUND_HEAD, KPF_COMPOUND_TAIL};
use farfault_guest_programs::pagemap::Pagemap;
use nix::errno::Errno;
use std::sync::atomic::{AtomicU64, Ordering};

pub const ROWS: &[Row] = &[
    Row::new("anonymous", "4 KiB pages", Kind::Anonymous, small),
    Row::new("thp", "2 MiB pages", Kind::Anonymous, huge).sized(2 * HUGE, HUGE),
    Row::new("mthp", "64 KiB folios, mapped by 4 KiB", Kind::Anonymous, medium)
        .sized(32 * PAGE, 16 * PAGE),
    Row::new("zero-page", "read before anybody wrote", Kind::Anonymous, untouched)
        .read_first()
        .but(&[
            (&["swapin-write"], Senseless("the zero page is not swapped")),
            (&["collapse"], Refused(Errno::EINVAL)),
            (
                &["hwpoison", "migrate", "pageout", "swap", "ksm"],
                Senseless("the zero page is one for all, and stays"),
            ),
            (&["split"], Senseless("nothing huge can be made of it")),
        ]),
    Row::new("mlocked", "locked in memory", Kind::Anonymous, locked).but(&[
        (LOSSES, Senseless("the row anonymous covers this")),
        (&["dontneed", "free", "pageout", "swap"], Refused(Errno::EINVAL)),
    ]),
    Row::new("swapped-out", "on swap when it is changed", Kind::Anonymous, swappable)
        .prepared(swap_out),
    Row::new("ksm-merged", "one page for all, by KSM", Kind::Anonymous, merged).read_first().but(
        &[
            (LOSSES, Senseless("nothing but anonymous matters here")),
            (&["collapse"], Refused(Errno::EAGAIN)),
            (&["pageout", "swap"], Senseless("a page that is shared is not paged out")),
            (&["ksm"], Senseless("it is merged already")),
            (&["split"], Senseless("nothing huge can be made of it")),
        ],
    ),
    Row::new("soft-dirty", "writes to it are tracked", Kind::Anonymous, tracked)
        .prepared(track)
        .checked(is_tracked),
    Row::new("stack", "of the main thread", Kind::Anonymous, stack),
    Row::new("heap", "by brk", Kind::Anonymous, heap),
    Row::new("guard-pages", "some pages are guards", Kind::Anonymous, guarded).but(&[
        (LOSSES, Senseless("nothing but anonymous matters here")),
        (&["collapse"], Refused(Errno::EINVAL)),
        (&["split"], Senseless("nothing huge can be made of it")),
    ]),
    Row::new("prot-none", "mapped without access", Kind::Anonymous, closed).but(&[
        (LOSSES, Senseless("nothing but anonymous matters here")),
        (&["hwpoison", "migrate", "to-device"], Refused(Errno::EFAULT)),
        (&["ksm"], Senseless("no two of its pages can be made equal")),
    ]),
];

/// Anonymous memory of `length` bytes, with `advice`, that nobody has touched.
pub fn fresh(row: &Row, length: u64, advice: i32) -> Made {
    let span = calls::map(length, row.alignment(length), READ_WRITE, MAP_PRIVATE, Source::Nothing)?;
    calls::advise(span, advice)?;
    Ok(row.at(span))
}

/// Has the CPU write to each sample.
pub fn written(subject: Subject) -> Made {
    let mut subject = subject.stamped(1);
    let cpu = Cpu::new()?;
    for sample in &subject.samples {
        if let Holds::Word(word) = sample.holds {
            cpu.store_all(sample.at + LINK, &[0, word, 0])?;
        }
    }
    subject.reading_maps(Mapped::Yes);
    Ok(subject)
}

/// The system makes nothing huge of its own accord, and may if it is told to.
pub fn small(_: &Environment, row: &Row, length: u64) -> Made {
    written(fresh(row, length, MADV_NORMAL)?)
}

pub fn huge(_: &Environment, row: &Row, length: u64) -> Made {
    written(fresh(row, length, MADV_HUGEPAGE)?)
}

fn medium(_: &Environment, row: &Row, length: u64) -> Made {
    let subject = fresh(row, length, MADV_NORMAL)?;
    // Where 2 MiB would fit, the first fault finds half of that, and the next ones a
    // table for small pages.
    let half = Span { length: length / 2, ..subject.span };
    calls::advise(half, MADV_HUGEPAGE)?;
    Cpu::new()?.store(half.start, 0)?;
    calls::advise(subject.span, MADV_HUGEPAGE)?;
    let subject = written(subject)?;
    has_folios_of(&subject, row.leaf)?;
    Ok(Subject { leaf: PAGE, ..subject })
}

/// Each sample lies in a folio of `length` bytes, aligned to that.
fn has_folios_of(subject: &Subject, length: u64) -> Result<(), Failure> {
    let all = Frames::open()?;
    for (sample, frame) in subject.samples.iter().zip(frames(subject)?) {
        let flags = all.flags(frame)?;
        let first = sample.at.is_multiple_of(length);
        let told = format!("a page lies in a folio of {length} bytes: {flags:x?}");
        expect(&told, flags.has(if first { KPF_COMPOUND_HEAD } else { KPF_COMPOUND_TAIL }))?;
    }
    Ok(())
}

fn untouched(_: &Environment, row: &Row, length: u64) -> Made {
    let mut subject = fresh(row, length, MADV_NORMAL)?;
    subject.reading_maps(Mapped::No);
    Ok(subject)
}

fn locked(environment: &Environment, row: &Row, length: u64) -> Made {
    let subject = small(environment, row, length)?;
    calls::lock(subject.span)?;
    Ok(subject)
}

fn swappable(environment: &Environment, row: &Row, length: u64) -> Made {
    needed(&environment.swap)?;
    let mut subject = small(environment, row, length)?;
    swap_out(&mut subject)?;
    Ok(subject)
}

/// To swap, where neither CPU nor device have it.
fn swap_out(subject: &mut Subject) -> Result<(), Failure> {
    drain()?;
    calls::advise(subject.span, MADV_PAGEOUT)?;
    let out = frames(subject)?.iter().all(|&frame| frame == 0);
    if !out {
        return Err("not all of it could be swapped out".into());
    }
    subject.mapped(Mapped::No);
    subject.reading_maps(Mapped::Maybe);
    Ok(())
}

fn closed(environment: &Environment, row: &Row, length: u64) -> Made {
    let mut subject = small(environment, row, length)?;
    calls::protect(subject.span, PROT_NONE)?;
    subject.samples.iter_mut().for_each(Sample::hide);
    Ok(subject)
}

fn merged(environment: &Environment, row: &Row, length: u64) -> Made {
    let mut subject = small(environment, row, length)?;
    ksm::equalise(&Cpu::new()?, &mut subject)?;
    calls::advise(subject.span, MADV_MERGEABLE)?;
    ksm::merge(&mut subject)?;
    Ok(subject)
}

/// Small pages of which all writes so far are forgotten: what is tracked is the device's.
fn tracked(environment: &Environment, row: &Row, length: u64) -> Made {
    let mut subject = small(environment, row, length)?;
    track(&mut subject)?;
    Ok(subject)
}

/// Forgets all writes so far, for which every page is write-protected.
fn track(subject: &mut Subject) -> Result<(), Failure> {
    write("/proc/self/clear_refs", "4")?;
    subject.mapped(Mapped::No);
    subject.reading_maps(Mapped::No);
    let pagemap = Pagemap::own()?;
    for sample in &subject.samples {
        let dirty = pagemap.entry(sample.at)?.is_soft_dirty();
        expect(&format!("{:#x} is not soft-dirty", sample.at), !dirty)?;
    }
    Ok(())
}

/// All samples that can be have been written since.
fn is_tracked(subject: &Subject) -> Result<(), Failure> {
    let pagemap = Pagemap::own()?;
    for sample in subject.samples.iter().filter(|sample| sample.allows(Access::Write)) {
        let dirty = pagemap.entry(sample.at)?.is_soft_dirty();
        expect(&format!("{:#x}, which was written, is soft-dirty", sample.at), dirty)?;
    }
    Ok(())
}

/// Far below where this thread's stack is in use, one subject below the other.
fn stack(_: &Environment, row: &Row, length: u64) -> Made {
    let here = std::ptr::from_ref(&length).expose_provenance() as u64;
    let alignment = if length >= HUGE { HUGE } else { PAGE };
    static SUBJECTS: AtomicU64 = AtomicU64::new(1);
    let number = SUBJECTS.fetch_add(1, Ordering::Relaxed);
    let start = (here - (1 << 20) - number * length) / alignment * alignment;
    let mut subject = written(Subject::new(Span { start, length }, row.kind, false, row.leaf))?;
    // It grows where the CPU finds nothing.
    subject.cpu_alone = true;
    Ok(subject)
}

fn heap(_: &Environment, row: &Row, length: u64) -> Made {
    let alignment = if length >= HUGE { HUGE } else { PAGE };
    let start = calls::grow_heap(length + alignment)?.next_multiple_of(alignment);
    written(Subject::new(Span { start, length }, row.kind, false, row.leaf))
}

/// Samples that become guards.
const GUARDS: [usize; 2] = [2, 5];

fn guarded(environment: &Environment, row: &Row, length: u64) -> Made {
    let mut subject = small(environment, row, length)?;
    for guard in GUARDS {
        let sample = &mut subject.samples[guard];
        calls::advise(Span { start: sample.at, length: PAGE }, MADV_GUARD_INSTALL)?;
        sample.holds = Holds::Nothing;
    }
    Ok(subject)
}
