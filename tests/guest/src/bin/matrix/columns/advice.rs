// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns of madvise.

use crate::calls::{self, MADV_COLLAPSE, MADV_DONTNEED, MADV_FREE, MADV_HWPOISON, Span};
use crate::cell::{Cell, Change, Effect, Mirror};
use crate::column::Column;
use crate::cpu::frames;
use crate::model::{Access, HUGE, Holds, Kind, Mapped, PAGE, Subject};
use crate::row::Part;
use crate::row::Rule::{Refused, Senseless};
use farfault_guest_programs::kernel_files::write;
use farfault_guest_programs::ktap::{Outcome, expect};
use farfault_guest_programs::page_flags::{Frames, KPF_COMPOUND_HEAD, KPF_COMPOUND_TAIL};
use farfault_guest_programs::{Failure, signals};
use nix::Result as Called;
use nix::errno::Errno;
use nix::sys::signal::Signal;

pub const COLUMNS: &[Column] = &[
    Column::new("dontneed", "MADV_DONTNEED", dontneed)
        .but(&[(&[Kind::Pageless], Refused(Errno::EINVAL))]),
    Column::new("free", "MADV_FREE", free).but(&[(
        &[Kind::Disk, Kind::Shmem, Kind::Dax, Kind::Hugetlb, Kind::Device, Kind::Pageless],
        Refused(Errno::EINVAL),
    )]),
    Column::new("pageout", "MADV_PAGEOUT", pageout).declined().but(&[
        (&[Kind::Hugetlb, Kind::Pageless], Refused(Errno::EINVAL)),
        (&[Kind::Dax], Senseless("persistent memory is not paged out")),
        (&[Kind::Device], Senseless("pages of a driver are not swapped")),
    ]),
    Column::new("collapse", "MADV_COLLAPSE", collapse).at_least(HUGE).declined().but(&[
        (&[Kind::Hugetlb, Kind::Device, Kind::Dax], Refused(Errno::EINVAL)),
        (&[Kind::Pageless], Senseless("there is no place for a huge page")),
    ]),
    Column::new("split", "a huge page is split", split).at_least(HUGE).but(&[
        (&[Kind::Hugetlb], Senseless("hugetlb pages are not split")),
        (&[Kind::Dax, Kind::Device, Kind::Pageless], Senseless("there is no folio to be split")),
    ]),
    Column::new("hwpoison", "MADV_HWPOISON of a page", poison).but(&[
        (&[Kind::Pageless], Refused(Errno::EFAULT)),
        (&[Kind::Device], Refused(Errno::EBUSY)),
    ]),
];

/// A driver that has mapped pages once does not map them again.
fn dontneed(cell: &mut Cell<'_>) -> Outcome {
    let effect = match (cell.row.kind, cell.row.shared) {
        (Kind::Device, _) => Effect::Removes,
        (_, true) => Effect::Keeps,
        _ => Effect::Reverts,
    };
    cell.zap(Part::Whole, effect, |_, span| calls::advise(span, MADV_DONTNEED))
}

fn free(cell: &mut Cell<'_>) -> Outcome {
    cell.zap(Part::Whole, Effect::Lapses, |_, span| calls::advise(span, MADV_FREE))
}

fn pageout(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    let before = frames(&cell.subject)?;
    let commands = cell.start_commands()?;
    cell.page_out(commands.is_none())?;
    cell.look_at_mirror(&before)?;
    cell.look_at_all(commands)
}

fn collapse(cell: &mut Cell<'_>) -> Outcome {
    // While a handler maps pages the kernel may say of them that it is no use at all.
    let meanwhile = cell.under_way && cell.row.kind == Kind::Shmem && !cell.row.prefetched;
    cell.change(&Change {
        part: Part::Whole,
        act: if meanwhile { collapse_in_time } else { collapse_now },
        effect: Effect::Keeps,
        mirror: Mirror::AsCpu,
    })
}

fn collapse_now(subject: &mut Subject, span: Span) -> Called<()> {
    calls::advise(span, MADV_COLLAPSE)?;
    subject.leaf = HUGE;
    subject.reading_maps(Mapped::Maybe);
    // A private page of a file is copied alone.
    subject.whole = subject.shared || subject.kind == Kind::Anonymous;
    Ok(())
}

fn collapse_in_time(subject: &mut Subject, span: Span) -> Called<()> {
    match collapse_now(subject, span) {
        Err(Errno::EINVAL) => Err(Errno::EAGAIN),
        done => done,
    }
}

/// Of what is huge, or has been made so. Through debugfs, which splits folios; what
/// must then map them by small pages is the CPU's page table.
fn split(cell: &mut Cell<'_>) -> Outcome {
    if cell.row.leaf < HUGE {
        cell.insist(|subject| collapse_now(subject, subject.span))?;
    }
    cell.map()?;
    let commands = cell.start_commands()?;
    let before = frames(&cell.subject)?;
    // A file system keeps a folio whole while it is dirty, and so while it is written.
    let of_disk = cell.row.shared && cell.row.kind == Kind::Disk;
    let may_stay = of_disk && commands.is_some();
    let done = cell.insist(|subject| {
        if of_disk {
            calls::sync(subject.span)?;
        }
        let (start, end) = (subject.span.start, subject.span.end());
        let order = format!("{},{start:#x},{end:#x}", std::process::id());
        write("/sys/kernel/debug/split_huge_pages", &order).map_err(|_| Errno::EINVAL)?;
        // It does not tell whether it did.
        let whole = any_is_compound(&before).map_err(|_| Errno::EIO)?;
        match (whole, may_stay) {
            (true, false) => return Err(Errno::EAGAIN),
            (true, true) => println!("# at rest only: while commands write to it, it stays whole"),
            (false, _) => {}
        }
        Ok(())
    });
    expect("no folio is huge any more", done != Err(Errno::EAGAIN))?;
    done?;
    cell.subject.whole = false;
    cell.look_at_mirror(&before)?;
    cell.look_at_all(commands)
}

fn any_is_compound(places: &[u64]) -> Result<bool, Failure> {
    let all = Frames::open()?;
    let flags = places.iter().map(|frame| all.flags(*frame)).collect::<Result<Vec<_>, _>>()?;
    Ok(flags.iter().any(|one| one.has(KPF_COMPOUND_HEAD) || one.has(KPF_COMPOUND_TAIL)))
}

/// The sample whose page goes bad.
const BAD: usize = 6;

/// The page is gone for good if it was dirty, and read anew from its file if it
/// was clean; pages beside it are not harmed, unless they share a hugetlb page.
fn poison(cell: &mut Cell<'_>) -> Outcome {
    signals::survive(Signal::SIGBUS)?;
    cell.map()?;
    let before = frames(&cell.subject)?;
    let commands = cell.start_commands()?;
    let start = cell.subject.samples[BAD].at;
    let harmed = match cell.row.kind {
        Kind::Hugetlb => {
            let length = cell.row.leaf;
            Span { start: start / length * length, length }
        }
        // All samples lie in the one page.
        _ if before[BAD] != 0 && before.iter().all(|frame| *frame == before[BAD]) => {
            cell.subject.span
        }
        _ => Span { start, length: PAGE },
    };
    let (mut asked, mut stays) = (false, false);
    let done = cell.insist(|_| match calls::advise(Span { start, length: PAGE }, MADV_HWPOISON) {
        // The first call has poisoned the page all the same. It stays in its file, and
        // nobody can reach it there.
        Err(Errno::EFAULT) if asked => {
            stays = true;
            Ok(())
        }
        answer => {
            asked = true;
            answer
        }
    });
    if cell.was_done(done)? {
        let clean = match cell.row.kind {
            _ if stays => false,
            Kind::Disk => cell.row.touch == Access::Read,
            // Only the process is told; the medium itself is not bad.
            Kind::Dax => cell.row.shared,
            _ => false,
        };
        for sample in cell.subject.within(harmed) {
            sample.holds = if clean { sample.holds } else { Holds::Nothing };
        }
    }
    cell.subject.whole = false;
    cell.look_at_mirror(&before)?;
    cell.look_at_all(commands)
}
