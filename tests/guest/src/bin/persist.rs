// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `persist`: leaves a file that CPU and device have written through a mapping
//! with MAP_SYNC, and finds it again after the machine has gone.

use farfault_guest_programs::file_mapping::{Answer, FileMapping};
use farfault_guest_programs::memory::HUGE_PAGE;
use farfault_guest_programs::program::{Program, Summary};
use farfault_guest_programs::random::Random;
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::{Failure, counters};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const PROGRAM: Program = Program {
    name: "persist",
    usage: "FILE [--check] [--seed S]",
    about: "Makes FILE, has the CPU write half of it and the device the other half, through a\n\
            mapping that must have MAP_SYNC, and ends with msync. With --check, has both look\n\
            whether that is what FILE holds.",
};

/// Two huge pages: one for the CPU, one for the device.
const LENGTH: usize = 2 * HUGE_PAGE;

struct Plan {
    path: PathBuf,
    check: bool,
    seed: u64,
}

fn main() -> ExitCode {
    PROGRAM.run(
        |options| {
            Ok(Plan {
                check: options.switch("--check"),
                seed: options.option("--seed", 1)?,
                path: options.operand("FILE")?.ok_or("no file is named")?,
            })
        },
        |plan| work(&plan),
    )
}

fn work(plan: &Plan) -> Result<Summary, Failure> {
    let large = counters::get("leaves_2m")?;
    let mut queue = RawQueue::new(&raw_queue::open()?, 16)?;
    let mut content = vec![0; LENGTH];
    Random::new(plan.seed, &[]).fill(&mut content);
    let verified = if plan.check {
        check(&plan.path, &content, &mut queue)?
    } else {
        write(&plan.path, &content, &mut queue)?
    };
    let large = counters::get("leaves_2m")? - large;
    Ok(Summary::new(verified)
        .with("bytes", LENGTH)
        .with("leaves_2m", large)
        .with("seed", plan.seed))
}

fn write(path: &Path, content: &[u8], queue: &mut RawQueue) -> Result<bool, Failure> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    fallocate(&file, FallocateFlags::empty(), 0, LENGTH as i64)?;
    let mapping = FileMapping::new(&file, LENGTH)?;
    if !mapping.synchronous {
        return Err("this file system has no MAP_SYNC".into());
    }
    let (cpu, device) = content.split_at(LENGTH / 2);
    mapping.write(0, cpu)?;
    let answer = mapping.device_write(queue, cpu.len(), device)?;
    mapping.sync(0..LENGTH)?;
    Ok(matches!(answer, Answer::Done(_)))
}

fn check(path: &Path, content: &[u8], queue: &mut RawQueue) -> Result<bool, Failure> {
    let file = File::options().read(true).write(true).open(path)?;
    let mapping = FileMapping::new(&file, LENGTH)?;
    let answer = mapping.device_compare(queue, 0, content)?;
    if answer != Answer::Done(LENGTH as u64) {
        return Err(format!("the device finds a difference: {answer:x?}").into());
    }
    let mut found = vec![0; LENGTH];
    mapping.read(0, &mut found)?;
    Ok(found == content)
}
