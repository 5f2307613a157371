// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `exerciser`: random changes to a mapped file, in the manner of fsx, where the
//! accesses to the mapping are done by CPU and device in turn. A model in memory
//! says what each of them must find.

mod exercise;
mod model;
mod operation;
mod subject;
mod zeroing;

use exercise::{Exercise, Manner};
use farfault_guest_programs::memory::PAGE;
use farfault_guest_programs::options::within;
use farfault_guest_programs::program::{Program, Summary};
use farfault_guest_programs::random::Random;
use farfault_guest_programs::{Failure, counters};
use operation::Abilities;
use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

const PROGRAM: Program = Program {
    name: "exerciser",
    usage: "DIRECTORY [--operations N] [--seed S] [--file-size BYTES] [--cpu-only] \
            [--without NAMES] [--keep-mapped] [--zero-ahead]",
    about: "Does N random operations (default 3000) on a file in DIRECTORY of up to BYTES\n\
            (default 256 KiB; from 4 MiB on also by whole huge pages): write, read, truncation, allocation, hole punch, zeroing, collapse,\n\
            insertion, reflink, sync, reclaim, and accesses to its mapping by CPU and device.\n\
            Where the file system lacks one of them, it is left out; so is what --without names\n\
            of allocate, punch, zero, collapse, insert and reflink.\n\
            --cpu-only has the CPU do the device's part, to tell who is to blame.\n\
            --keep-mapped leaves the mapping in the page tables also where system calls copy\n\
            reflinked blocks under DAX, of which Linux 7.2 warns with and without a device.\n\
            --zero-ahead leaves ext4's zeroing of whole short extents on under DAX (it is the\n\
            file system's setting extent_max_zeroout_kb), where Linux 7.2 leaves zero pages\n\
            mapped that write(2) has replaced, with and without a device.",
};

/// So often the whole file is compared.
const CHECK: u64 = 250;
/// So many operations are shown when one goes wrong.
const SHOWN: usize = 12;

struct Plan {
    folder: PathBuf,
    operations: u64,
    seed: u64,
    manner: Manner,
    without: String,
}

fn main() -> ExitCode {
    PROGRAM.run(
        |options| {
            let most = options.option("--file-size", 256 << 10)?;
            let most = within("--file-size", most, 16 * PAGE..=1 << 30)?.next_multiple_of(PAGE);
            let cpu_only = options.switch("--cpu-only");
            let keep_mapped = options.switch("--keep-mapped");
            let zero_ahead = options.switch("--zero-ahead");
            let without: String = options.option("--without", String::new())?;
            Abilities::default().without(&without)?;
            Ok(Plan {
                manner: Manner { most, cpu_only, keep_mapped, zero_ahead },
                operations: options.option("--operations", 3000)?,
                seed: options.option("--seed", 1)?,
                without,
                folder: options.operand("DIRECTORY")?.ok_or("no directory is named")?,
            })
        },
        work,
    )
}

fn work(plan: Plan) -> Result<Summary, Failure> {
    let Plan { folder, operations, seed, manner, without } = plan;
    println!("exerciser: seed {seed}");
    std::io::stdout().flush()?;
    let leaves = || if manner.cpu_only { Ok(0) } else { counters::get("leaves_2m") };
    let leaves_before = leaves()?;
    let mut exercise = Exercise::new(&folder, manner, &without)?;
    let mut latest = VecDeque::new();
    for number in 1..=operations {
        // Each operation has numbers of its own, so that what one uses up does
        // not depend on how another was carried out.
        let mut random = Random::new(seed, &[number]);
        let operation = exercise.choose(&mut random);
        let mut outcome = exercise.carry_out(&operation, &mut random);
        latest.push_back(format!("{number}: {operation}"));
        if latest.len() > SHOWN {
            latest.pop_front();
        }
        if outcome.is_ok() && (number % CHECK == 0 || number == operations) {
            outcome = exercise.check_all().map_err(|why| format!("afterwards, {why}").into());
        }
        if let Err(why) = outcome {
            latest.iter().for_each(|line| eprintln!("exerciser: {line}"));
            return Err(format!(
                "operation {number}, {operation}: {why}; replay: exerciser {} --seed {seed} \
                 --operations {number} --file-size {} --without '{without}'{}",
                folder.display(),
                manner.most,
                manner.switches()
            )
            .into());
        }
    }
    let (tally, able) = (&exercise.tally, exercise.abilities);
    Ok(Summary::new(true)
        .with("operations", operations)
        .with("cpu", tally.cpu)
        .with("device", tally.device)
        .with("refused", tally.refused)
        .with("large", tally.large)
        .with("leaves_2m", leaves()? - leaves_before)
        .with("map_sync", exercise.is_synchronous())
        .with("punch", able.punch)
        .with("collapse", able.collapse)
        .with("insert", able.insert)
        .with("reflink", able.reflink)
        .with("seed", seed))
}
