// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows of memory that is in the device's own memory when it is changed.

use crate::device;
use crate::model::{HUGE, Kind, Mapped, PAGE, Subject};
use crate::row::Row;
use crate::row::Rule::{self, Senseless};
use crate::rows::LOSSES;
use crate::rows::anonymous::{huge, small};
use farfault_client::raw::uapi::MIGRATE_DEVICE;
use farfault_guest_programs::Failure;
use farfault_guest_programs::ktap::expect;

const NOT_RECLAIMED: (&[&str], Rule) = (LOSSES, Senseless("what is there is not reclaimed"));
const NOT_COMPACTED: (&[&str], Rule) =
    (&["compact"], Senseless("compaction leaves device memory alone"));

pub const ROWS: &[Row] = &[
    Row::new("device-memory", "4 KiB pages, in device memory", Kind::Anonymous, small)
        .prepared(move_there)
        .but(&[NOT_RECLAIMED, NOT_COMPACTED]),
    Row::new("device-memory-thp", "2 MiB pages, in device memory", Kind::Anonymous, huge)
        .sized(2 * HUGE, HUGE)
        .prepared(move_there)
        .but(&[NOT_RECLAIMED, NOT_COMPACTED, (&["collapse"], Senseless("it is one huge page"))]),
];

/// The mirror lets go of what moves.
fn move_there(subject: &mut Subject) -> Result<(), Failure> {
    device::is_there()?;
    let moved = device::move_to(subject.span, MIGRATE_DEVICE)?;
    expect("all of it goes to device memory", moved >= subject.span.length / PAGE)?;
    subject.whole = false;
    subject.comes_back = true;
    subject.mapped(Mapped::No);
    subject.reading_maps(Mapped::Maybe);
    Ok(())
}
