// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a cell in a process of its own, so that whatever becomes of it, the
//! others run.
#![allow(unsafe_code, reason = "alarm and prctl, by which a stuck cell ends")]

use crate::cell::Cell;
use crate::column::Column;
use crate::environment::Environment;
use crate::model::GIGANTIC;
use crate::rig::Rig;
use crate::row::Row;
use crate::rules::{Rule, rule};
use farfault_guest_programs::Failure;
use farfault_guest_programs::children::Child;
use farfault_guest_programs::ktap::Skip;
use nix::libc;
use std::io::{PipeWriter, Read, Write, pipe};

/// Seconds after which a cell is killed.
const LIMIT: u32 = 40;
/// The same where pages of 1 GiB may have to be copied.
const GIGANTIC_LIMIT: u32 = 150;

/// What came of a cell.
pub enum Verdict {
    Passed,
    /// As it must be, but the kernel, or the device, says no.
    Refused(String),
    /// Not run: it makes no sense, or this guest lacks something.
    Skipped(String),
    Failed(String),
}

/// Runs the cell of `row` and `column`.
pub fn run(environment: &Environment, row: &Row, column: &Column) -> Verdict {
    let rule = rule(row, column.name);
    if let Rule::Senseless(why) = rule {
        return Verdict::Skipped(format!("not applicable: {why}"));
    }
    if let Err(why) = environment.mend() {
        return Verdict::Failed(why.to_string());
    }
    let limit = if row.length < GIGANTIC { LIMIT } else { GIGANTIC_LIMIT };
    in_child(limit, |mut told| {
        let refused = match attempt(environment, row, column, rule) {
            Ok(refused) => refused,
            Err(why) if why.is::<Skip>() => {
                return Ok(write!(told, "skip {why}")?);
            }
            Err(why) => return Ok(write!(told, "fail {why}")?),
        };
        match refused {
            Some(by) => write!(told, "refused {by}")?,
            None => write!(told, "ok ")?,
        }
        Ok(())
    })
    .unwrap_or_else(|why| Verdict::Failed(why.to_string()))
}

/// At rest, where faults can be counted, and with commands under way. Gives who
/// refused what, if that is what the cell shows.
fn attempt(
    environment: &Environment,
    row: &Row,
    column: &Column,
    rule: Rule,
) -> Result<Option<String>, Failure> {
    let mut refused = None;
    let mut rig = Rig::new()?;
    for under_way in [false, true] {
        if under_way && !column.under_way {
            continue;
        }
        let mut cell = Cell::new(environment, &mut rig, row, rule, column.length, under_way)?;
        if cell.subject.is_closed() {
            refused = Some("the device's access".to_owned());
        }
        (column.run)(&mut cell).map_err(|why| {
            format!("{why}{}", if under_way { " (while commands were under way)" } else { "" })
        })?;
    }
    Ok(match rule {
        Rule::Refused(errno) => Some(format!("{errno}")),
        _ => refused,
    })
}

fn in_child(
    limit: u32,
    body: impl FnOnce(PipeWriter) -> Result<(), Failure>,
) -> Result<Verdict, Failure> {
    let (mut read, write) = pipe()?;
    let mut body = Some((body, write));
    let child = Child::start(|| {
        // SAFETY: plain system calls that concern this process only.
        unsafe { libc::alarm(limit) };
        // SAFETY: as above.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let Some((body, write)) = body.take() else { return Ok(()) };
        body(write)
    })?;
    drop(body);
    let mut text = String::new();
    read.read_to_string(&mut text)?;
    let ended = child.wait();
    let (kind, why) = text.split_once(' ').unwrap_or(("", &text));
    Ok(match (ended, kind) {
        (Ok(0), "ok") => Verdict::Passed,
        (Ok(0), "refused") => Verdict::Refused(why.to_owned()),
        (Ok(0), "skip") => Verdict::Skipped(why.to_owned()),
        (Ok(0), "fail") => Verdict::Failed(why.to_owned()),
        (Ok(code), _) => Verdict::Failed(format!("the cell's process exited with code {code}")),
        (Err(why), _) => Verdict::Failed(why.to_string()),
    })
}
