// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `stress`: several processes with several queues each give the device random
//! commands on memory of every kind, while the memory is moved about under it.
//! The CPU does the same on copies of its own and compares after each command.
//!
//! The commands follow from the seed alone. What the meddling threads get done
//! meanwhile depends on time, and does not change any result.

mod buffer;
mod margins;
mod meddler;
mod pace;
mod step;
mod stir;
mod totals;
mod worker;

use farfault_client::Device;
use farfault_workloads::children::Child;
use farfault_workloads::memory::{PAGE, Region};
use farfault_workloads::options::within;
use farfault_workloads::program::{Program, Summary};
use farfault_workloads::{Failure, views};
use pace::Pace;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use totals::Totals;
use worker::Worker;

const PROGRAM: Program = Program {
    name: "stress",
    usage: "[--processes P] [--queues Q] [--commands N] [--seed S] [--calm] [--no-forks]",
    about: "Has P processes (default 2) give random commands to Q queues each (default 2), N to\n\
            each queue (default 200), while pages are unmapped, moved, discarded, collapsed and\n\
            made copy-on-write. --calm leaves the memory in use alone; with --no-forks no child\n\
            shares it.",
};

#[derive(Clone, Copy)]
struct Plan {
    processes: u64,
    queues: u64,
    commands: u64,
    seed: u64,
    calm: bool,
    forks: bool,
}

fn main() -> ExitCode {
    PROGRAM.run(
        |options| {
            Ok(Plan {
                processes: within("--processes", options.option("--processes", 2)?, 1..=64)?,
                queues: within("--queues", options.option("--queues", 2)?, 1..=64)?,
                commands: options.option("--commands", 200)?,
                seed: options.option("--seed", 1)?,
                calm: options.switch("--calm"),
                forks: !options.switch("--no-forks"),
            })
        },
        work,
    )
}

/// A step has at most so many commands, and the kernel may decline some.
const STIRRED: u64 = 100;

fn work(plan: Plan) -> Result<Summary, Failure> {
    let mut shared = Region::shared_anonymous(PAGE)?;
    let [commands, bytes, meddlings, stirrings, ..] = views::atomics(&mut shared) else {
        return Err("a page holds more than four words".into());
    };
    let totals = Totals { commands, bytes, meddlings, stirrings };
    let children: Result<Vec<_>, _> =
        (0..plan.processes).map(|process| Child::start(|| run(plan, process, &totals))).collect();
    let ended: Vec<_> = children?.into_iter().map(Child::succeed).collect();

    let failed = ended.iter().filter(|end| end.is_err()).count();
    let done = totals.commands.load(Ordering::Relaxed);
    let stirred = totals.stirrings.load(Ordering::Relaxed);
    let all_done = done == plan.processes * plan.queues * plan.commands;
    // One in so many commands, at least, has pages stirred unless told otherwise.
    let verified = failed == 0 && all_done && (plan.calm || stirred >= done / STIRRED);
    Ok(Summary::new(verified)
        .with("processes", plan.processes)
        .with("queues", plan.processes * plan.queues)
        .with("commands", done)
        .with("bytes", totals.bytes.load(Ordering::Relaxed))
        .with("meddlings", totals.meddlings.load(Ordering::Relaxed))
        .with("stirrings", stirred)
        .with("failed", failed)
        .with("seed", plan.seed))
}

/// One process: a thread for each queue, and one that meddles.
fn run(plan: Plan, process: u64, totals: &Totals<'_>) -> Result<(), Failure> {
    let device = Device::open()?;
    let pace = Pace::default();
    thread::scope(|threads| {
        let workers: Vec<_> = (0..plan.queues)
            .map(|number| {
                let (device, pace) = (&device, &pace);
                threads.spawn(move || {
                    let path = [process, number];
                    let result = Worker::new(device, plan.seed, path, !plan.calm, plan.forks)
                        .and_then(|mut worker| worker.run(plan.commands, pace, totals));
                    result.map_err(|why| {
                        pace.end();
                        let seed = plan.seed;
                        format!("seed {seed}, process {process}, queue {number}: {why}")
                    })
                })
            })
            .collect();
        let meddler = threads.spawn(|| {
            let done = meddler::run(plan.seed, process, &pace, plan.forks)?;
            totals.meddlings.fetch_add(done, Ordering::Relaxed);
            Ok::<_, Failure>(())
        });
        let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        pace.end();
        let meddled = meddler.join();
        for end in ended {
            end.map_err(|_| "a worker panicked")??;
        }
        meddled.map_err(|_| "the meddler panicked")?
    })
}
