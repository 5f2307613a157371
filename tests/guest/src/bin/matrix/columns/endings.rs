// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns in which the process that uses the memory ends or becomes another
//! program, while the device works for it.

use crate::cell::Cell;
use crate::column::Column;
use crate::model::STAMP;
use crate::rig::{Rig, deadline};
use farfault_guest_programs::children::{Child, exit_now};
use farfault_guest_programs::counters::{self, GAUGES};
use farfault_guest_programs::ktap::{Outcome, expect_equal};
use farfault_guest_programs::{Failure, raw_queue};
use std::os::unix::process::CommandExt;
use std::process::Command;

pub const COLUMNS: &[Column] = &[
    Column::new("exec", "the process executes another program", |cell| {
        ends(cell, || Err(Command::new("sh").args(["-c", "exit 7"]).exec().into()))
    }),
    Column::new("exit", "the process exits", |cell| ends(cell, || exit_now(7))),
];

/// So many of the gauges must go away with a process. Not its tables, and DMA mappings: this process
/// may have some more by then, as an engine that is slow looks once more at a ring
/// which the fork has taken from it. They are counted when the last process has ended.
const OWN: usize = 3;

fn gauges() -> Result<Vec<u64>, Failure> {
    Ok(counters::gauges()?[..OWN].to_vec())
}

/// Has a child map memory of its own of the same kind, and end; then everything
/// of it is gone, and this process and its memory are as they were.
fn ends(cell: &mut Cell<'_>, end: fn() -> Outcome) -> Outcome {
    cell.map()?;
    let before = gauges()?;
    let child = Child::start(|| {
        let mut rig = Rig::new()?;
        let mut own = cell.another(&mut rig)?;
        own.map()?;
        let _commands = own.start_commands()?;
        // What is under way at the end need not have an end.
        own.rig.abandon(&own.subject.addresses(STAMP));
        end()
    })?;
    expect_equal("exit code", &child.wait()?, &7)?;
    // Less than before is right as well: the fork takes pages out of our table.
    let deadline = deadline()?;
    while gauges()?.iter().zip(&before).any(|(now, before)| now > before) {
        if raw_queue::now()? > deadline {
            let now = gauges()?;
            let told = format!("{:?} are {now:?} after the end, were {before:?}", &GAUGES[..OWN]);
            return Err(told.into());
        }
        std::thread::yield_now();
    }
    cell.subject.anything_may_be_mapped();
    cell.verify()
}
