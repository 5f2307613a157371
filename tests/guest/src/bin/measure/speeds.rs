// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same commands on memory that is mirrored, prefetched or pinned.

use crate::buffer::{Backing, Buffer, Mode, Rig};
use crate::table::{Table, best};
use farfault_client::raw::descriptor::{self as abi, Descriptor};
use farfault_guest_programs::ktap::Outcome;
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::{Failure, commands, counters, pins};
use std::time::Instant;

const ROUNDS: usize = 5;
const COMMANDS: [&str; 4] = ["copy", "fill", "histogram", "saxpy"];

/// What one way of sharing has cost.
#[derive(Default)]
struct Cost {
    first: Vec<f64>,
    whole: Vec<f64>,
    steady: Vec<f64>,
    faults: u64,
    calls: u64,
    pinned: u64,
}

pub fn measure(bytes: usize) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "command",
        "backing",
        "way",
        "time to first byte",
        "first run, all told",
        "steady run",
        "page requests",
        "hmm_range_fault calls",
        "pages pinned",
    ]);
    for backing in Backing::ALL {
        for command in COMMANDS {
            let mut costs: [Cost; 3] = Default::default();
            for _ in 0..ROUNDS {
                for (mode, cost) in Mode::ALL.into_iter().zip(&mut costs) {
                    once(bytes, backing, command, mode, cost)?;
                }
            }
            report(&mut table, backing, command, costs);
        }
    }
    Ok(table)
}

fn report(table: &mut Table, backing: Backing, command: &str, costs: [Cost; 3]) {
    let mut mirror = None;
    for (way, cost) in Mode::NAMES.into_iter().zip(costs) {
        let times = [best(&cost.first), best(&cost.whole), best(&cost.steady)];
        let mirror: &[f64; 3] = mirror.get_or_insert(times);
        let ratio = |i: usize| format!("{:.2}", times[i] / mirror[i]);
        table.row([
            command.to_owned(),
            backing.name().to_owned(),
            way.to_owned(),
            ratio(0),
            ratio(1),
            ratio(2),
            cost.faults.to_string(),
            cost.calls.to_string(),
            cost.pinned.to_string(),
        ]);
    }
}

/// Fresh memory: made reachable, used for a byte, used whole, used again.
fn once(bytes: usize, backing: Backing, command: &str, mode: Mode, cost: &mut Cost) -> Outcome {
    let mut rig = Rig::new()?;
    let (source, target) = (backing.fresh(bytes)?, backing.fresh(bytes)?);
    let counts = Region::anonymous(PAGE)?;
    let before = [counters::get("faults")?, counters::get("range_fault_calls")?];
    let pinned = pins::in_system()?;

    let start = Instant::now();
    let from = Buffer::new(&rig, mode, &source)?;
    let to = Buffer::new(&rig, mode, &target)?;
    let whole = Descriptor { length: from.length, ..descriptor(command, &from, &to, &counts) };
    let whole =
        if command == "saxpy" { Descriptor { length: from.length / 4, ..whole } } else { whole };
    rig.done(Descriptor { length: 1, ..whole })?;
    cost.first.push(start.elapsed().as_secs_f64());
    rig.done(whole)?;
    cost.whole.push(start.elapsed().as_secs_f64());
    cost.faults = counters::get("faults")? - before[0];
    cost.calls = counters::get("range_fault_calls")? - before[1];
    cost.pinned = pins::in_system()? - pinned;

    let start = Instant::now();
    rig.done(whole)?;
    cost.steady.push(start.elapsed().as_secs_f64());
    Ok(())
}

fn descriptor(command: &str, from: &Buffer, to: &Buffer, counts: &Region) -> Descriptor {
    match command {
        "copy" => from.copy_to(to),
        "fill" => to.fill(3),
        "histogram" => commands::command(abi::OP_HISTOGRAM, from.address, counts.address(), 0),
        _ => Descriptor {
            opcode: abi::OP_SAXPY as u8,
            operand: u64::from(2_f32.to_bits()),
            ..from.copy_to(to)
        },
    }
}
