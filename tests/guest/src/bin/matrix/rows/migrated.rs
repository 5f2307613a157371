// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows of memory that is in the device's own memory when it is changed.

use crate::model::{HUGE, Kind, Mapped, PAGE, Subject};
use crate::row::Row;
use crate::row::Rule::{self, Senseless};
use crate::rows::LOSSES;
use crate::rows::anonymous::{huge, small};
use farfault_client::raw::Kernel;
use farfault_client::raw::uapi::{MIGRATE_DEVICE, Migrate};
use farfault_guest_programs::ktap::{Skip, expect};
use farfault_guest_programs::{Failure, raw_queue};
use std::thread;

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

/// How often to ask: mm does not let go of what somebody has in hand for a moment.
const TRIES: u32 = 100;

/// The mirror lets go of what moves.
fn move_there(subject: &mut Subject) -> Result<(), Failure> {
    let device = raw_queue::open()?;
    if device.info()?.vram == 0 {
        return Err(Skip("the device has no memory of its own".to_owned()).into());
    }
    let (address, length) = (subject.span.start, subject.span.length);
    let mut left = length / PAGE;
    for _ in 0..TRIES {
        let target = MIGRATE_DEVICE;
        let mut request = Migrate { address, length, target, reserved: 0, moved: 0 };
        device.migrate(&mut request)?;
        left = left.saturating_sub(request.moved);
        if left == 0 {
            break;
        }
        thread::yield_now();
    }
    expect("all of it goes to device memory", left == 0)?;
    subject.whole = false;
    subject.comes_back = true;
    subject.mapped(Mapped::No);
    subject.reading_maps(Mapped::Maybe);
    Ok(())
}
