// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns that change mappings: munmap, mremap, mprotect.

use crate::calls::{
    self, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, PROT_NONE, PROT_READ, READ_WRITE, Span,
};
use crate::cell::{Cell, Change, Effect, Mirror};
use crate::column::Column;
use crate::model::{Holds, Kind, Mapped, Sample, Subject, offsets};
use crate::row::Part;
use crate::row::Rule::Refused;
use farfault_guest_programs::ktap::Outcome;
use nix::Result;
use nix::errno::Errno;

pub const COLUMNS: &[Column] = &[
    Column::new("munmap", "munmap of all", |cell| munmap(cell, Part::Whole)),
    Column::new("munmap-front", "munmap of the first quarter", |cell| munmap(cell, Part::Front)),
    Column::new("munmap-middle", "munmap of the middle half", |cell| munmap(cell, Part::Middle)),
    Column::new("munmap-tail", "munmap of the last quarter", |cell| munmap(cell, Part::Tail)),
    Column::new("mremap-move", "mremap to another place", |cell| remap(cell, relocate)),
    Column::new("mremap-grow", "mremap to twice the length", |cell| remap(cell, grow)).but(&[
        (&[Kind::Hugetlb], Refused(Errno::EINVAL)),
        (&[Kind::Pageless], Refused(Errno::EFAULT)),
    ]),
    Column::new("mremap-shrink", "mremap to three quarters", shrink),
    Column::new("mremap-dontunmap", "mremap that leaves the old place", |cell| remap(cell, leave))
        .but(&[(&[Kind::Hugetlb, Kind::Pageless], Refused(Errno::EINVAL))]),
    Column::new("mprotect-read", "mprotect to reading only, and back", protect_read),
    Column::new("mprotect-none", "mprotect to no access, and back", protect_none),
];

fn munmap(cell: &mut Cell<'_>, part: Part) -> Outcome {
    cell.zap(part, Effect::Removes, |_, span| calls::unmap(span))
}

fn remap(cell: &mut Cell<'_>, act: fn(&mut Subject, Span) -> Result<()>) -> Outcome {
    cell.change(&Change { part: Part::Whole, act, effect: Effect::Keeps, mirror: Mirror::Kept })
}

/// Moves `subject` to a new place of `length` bytes.
fn to_new_place(subject: &Subject, length: u64, flags: i32) -> Result<Span> {
    let place = calls::reserve(length, subject.leaf)?;
    calls::remap(subject.span, length, flags | MREMAP_MAYMOVE | MREMAP_FIXED, place)
}

fn nothing(_: &Sample) -> Option<Holds> {
    Some(Holds::Nothing)
}

fn relocate(subject: &mut Subject, _: Span) -> Result<()> {
    let place = to_new_place(subject, subject.span.length, 0)?;
    subject.move_to(place, nothing);
    Ok(())
}

/// What is beyond the old end is fresh, or beyond the end of the file.
fn grow(subject: &mut Subject, span: Span) -> Result<()> {
    let place = to_new_place(subject, 2 * span.length, 0)?;
    subject.move_to(place, nothing);
    let fresh = subject.kind == Kind::Anonymous && !subject.is_closed();
    let holds = if fresh { Holds::Word(0) } else { Holds::Nothing };
    let fresh: Vec<Sample> = offsets(span.length)
        .zip(&subject.samples)
        .map(|(offset, sample)| Sample {
            at: place.start + span.length + offset,
            holds,
            hidden: None,
            read_maps: Mapped::Maybe,
            ..sample.clone()
        })
        .collect();
    subject.samples.extend(fresh);
    Ok(())
}

/// Shared pages are then mapped twice, unless only their device can map them.
/// What is left of private ones is what was there before anybody wrote.
fn leave(subject: &mut Subject, span: Span) -> Result<()> {
    let place = to_new_place(subject, span.length, MREMAP_DONTUNMAP)?;
    let (shared, device) = (subject.shared, subject.kind == Kind::Device);
    subject.move_to(place, |sample| match (device, shared) {
        (true, _) => Some(Holds::Nothing),
        (_, true) => None,
        _ => sample.is_there().then_some(Holds::Word(sample.original)),
    });
    Ok(())
}

fn shrink(cell: &mut Cell<'_>) -> Outcome {
    cell.zap(Part::Tail, Effect::Removes, |subject, tail| {
        let length = subject.span.length - tail.length;
        calls::remap(subject.span, length, 0, subject.span).map(drop)
    })
}

fn protect_read(cell: &mut Cell<'_>) -> Outcome {
    cell.zap(Part::Whole, Effect::Seals, |_, span| calls::protect(span, PROT_READ))?;
    cell.change_mapped(&Change {
        part: Part::Whole,
        act: |_, span| calls::protect(span, READ_WRITE),
        effect: Effect::Unseals,
        mirror: Mirror::AsCpu,
    })
}

fn protect_none(cell: &mut Cell<'_>) -> Outcome {
    cell.zap(Part::Whole, Effect::Hides, |_, span| calls::protect(span, PROT_NONE))?;
    cell.change_mapped(&Change {
        part: Part::Whole,
        act: |subject, span| {
            subject.samples.iter_mut().for_each(Sample::reveal);
            calls::protect(span, READ_WRITE)
        },
        effect: Effect::Keeps,
        mirror: Mirror::Kept,
    })
}
