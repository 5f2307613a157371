// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes beside each other, and processes that end while the device is at work
//! for them: nothing of theirs may stay.
#![allow(unsafe_code, reason = "gives the device memory that it will not be done with")]

use crate::changes::{KINDS, Kind};
use crate::race;
use farfault_client::Device;
use farfault_client::raw::DeviceFile;
use farfault_client::raw::descriptor::{self as abi, Descriptor};
use farfault_workloads::Failure;
use farfault_workloads::children::{Child, Signpost, exit_now};
use farfault_workloads::counters::{await_gauges, gauges};
use farfault_workloads::ktap::Outcome;
use farfault_workloads::memory::{PAGE, Region};
use farfault_workloads::random::Random;
use farfault_workloads::raw_queue::RawQueue;
use farfault_workloads::userfault::{Mode, Userfault};
use farfault_workloads::views;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Something to try with processes: how often, and with which seed.
pub struct Trial {
    pub name: &'static str,
    pub run: fn(u64, u64) -> Outcome,
}

pub const TRIALS: [Trial; 6] = [
    Trial { name: "two_processes", run: two_processes },
    Trial { name: "killed_at_any_moment", run: killed_at_any_moment },
    Trial { name: "killed_at_the_doorbell", run: killed_at_the_doorbell },
    Trial { name: "killed_with_queues_parked", run: killed_with_queues_parked },
    Trial { name: "exec_at_any_moment", run: exec_at_any_moment },
    Trial { name: "exit_at_any_moment", run: exit_at_any_moment },
];

/// A process is so dear that of N changes asked for N / this are done.
const COST: u64 = 100;
/// What each of two processes does beside the other.
const BESIDE: [&str; 2] = ["munmap", "dontneed"];
/// Changes in whose midst processes end, in turn.
const MIDST: [&str; 5] = ["munmap", "mremap", "pageout", "fork", "userfault"];
/// Queues that are parked when a process is killed.
const PARKED: usize = 6;

fn kind(name: &str) -> Result<&'static Kind, Failure> {
    let found = KINDS.iter().find(|kind| kind.name == name);
    found.ok_or_else(|| format!("no change is called {name}").into())
}

/// Two processes have different pages at the same addresses.
fn two_processes(changes: u64, seed: u64) -> Outcome {
    let before = gauges()?;
    for name in BESIDE {
        let kind = kind(name)?;
        let children: Result<Vec<_>, _> = [1, 2]
            .map(|salt| {
                Child::start(move || {
                    race::run(kind, salt, changes.div_ceil(8), seed + salt, &AtomicU64::new(0))?;
                    Ok(())
                })
            })
            .into_iter()
            .collect();
        children?.into_iter().try_for_each(Child::succeed)?;
    }
    await_gauges(before)
}

/// Starts a process that goes on until it is ended, and ends it after a random
/// number of changes and some more.
fn ends_at_any_moment(
    times: u64,
    seed: u64,
    in_child: fn(),
    in_parent: fn(Child) -> Outcome,
) -> Outcome {
    let mut shared = Region::shared_anonymous(PAGE)?;
    let progress = &views::atomics(&mut shared)[0];
    let mut random = Random::new(seed, &[]);
    for time in 0..times {
        let before = gauges()?;
        progress.store(0, Ordering::Relaxed);
        let kind = kind(MIDST[(time % MIDST.len() as u64) as usize])?;
        let (until, spins) = (random.bits() % 6, random.bits() % 400);
        let moment = || {
            while progress.load(Ordering::Relaxed) < until {
                thread::yield_now();
            }
            (0..spins).for_each(|_| thread::yield_now());
        };
        let child = Child::start(|| {
            thread::scope(|scope| {
                let race = scope.spawn(|| race::run(kind, 0, u64::MAX, seed + time, progress));
                moment();
                in_child();
                race.join().map_err(|_| "the race panicked")?.map(drop)
            })
        })?;
        moment();
        in_parent(child).map_err(|why| format!("time {time}, {}: {why}", kind.name))?;
        await_gauges(before)?;
    }
    Ok(())
}

fn killed_at_any_moment(changes: u64, seed: u64) -> Outcome {
    ends_at_any_moment(changes.div_ceil(COST), seed, || (), Child::kill)
}

fn exit_at_any_moment(changes: u64, seed: u64) -> Outcome {
    ends_at_any_moment(changes.div_ceil(COST), seed, || exit_now(0), Child::succeed)
}

fn exec_at_any_moment(changes: u64, seed: u64) -> Outcome {
    let become_another = || {
        let error = Command::new("true").exec();
        eprintln!("true: {error}");
    };
    ends_at_any_moment(changes.div_ceil(COST), seed, become_another, Child::succeed)
}

/// Killed as soon as the device has been told of the work: records of faults are on
/// their way, or read, or a group is ready and nobody has looked at it yet.
fn killed_at_the_doorbell(changes: u64, seed: u64) -> Outcome {
    let mut random = Random::new(seed, &[]);
    for _ in 0..changes.div_ceil(COST) {
        let before = gauges()?;
        let (rung, never) = (Signpost::new()?, Signpost::new()?);
        let child = Child::start(|| {
            let memory = Region::small_pages(PARKED * 64 * PAGE)?;
            let _queues = parked(&memory, 64)?;
            rung.reach()?;
            never.wait()
        })?;
        rung.wait()?;
        (0..random.below(64)).for_each(|_| thread::yield_now());
        child.kill()?;
        await_gauges(before)?;
    }
    Ok(())
}

/// Killed while a userfaultfd handler keeps the service waiting, and other queues
/// wait behind it.
fn killed_with_queues_parked(changes: u64, _: u64) -> Outcome {
    for _ in 0..changes.div_ceil(COST) {
        let before = gauges()?;
        let (asked, never) = (Signpost::new()?, Signpost::new()?);
        let child = Child::start(|| {
            let memory = Region::small_pages(PARKED * PAGE)?;
            let userfault = Userfault::open()?;
            userfault.register(memory.address(), memory.len(), Mode::Missing)?;
            let _queues = parked(&memory, 1)?;
            userfault.next()?;
            asked.reach()?;
            never.wait()
        })?;
        asked.wait()?;
        child.kill()?;
        await_gauges(before)?;
    }
    Ok(())
}

/// Queues that each fill so many pages of `memory`.
fn parked(memory: &Region, pages: usize) -> Result<Vec<RawQueue>, Failure> {
    let device = Arc::new(DeviceFile::open(Path::new(Device::PATH))?);
    let mut queues = Vec::new();
    for number in 0..PARKED {
        let mut queue = RawQueue::new(&device, 4)?;
        let descriptor = Descriptor {
            opcode: abi::OP_FILL as u8,
            destination: memory.address() + (number * pages * PAGE) as u64,
            length: (pages * PAGE) as u64,
            operand: 1,
            ..Descriptor::default()
        };
        // SAFETY: nobody looks at the memory; the process is killed.
        unsafe { queue.post(descriptor) };
        queue.ring();
        queues.push(queue);
    }
    Ok(queues)
}
