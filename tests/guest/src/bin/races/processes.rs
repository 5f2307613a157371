// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes beside each other, and processes that end while the device is at work
//! for them: nothing of theirs may stay.
#![allow(unsafe_code, reason = "gives the device memory that it will not be done with")]

use crate::changes::{DISCARD, FORK, MISSING, PAGE_OUT, RELOCATE, UNMAP};
use crate::kind::Kind;
use crate::race;
use farfault_guest_programs::children::{Child, Signpost, exit_now};
use farfault_guest_programs::counters::{await_gauges, gauges, killed};
use farfault_guest_programs::ktap::Outcome;
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::random::Random;
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::userfault::Userfault;
use farfault_guest_programs::{Failure, commands, views};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Something to try with processes.
pub struct Trial {
    pub name: &'static str,
    /// To be told how many changes of each kind are asked for, and the seed; says what was
    /// done.
    pub run: fn(u64, u64) -> Result<String, Failure>,
}

pub const TRIALS: &[Trial] = &[
    Trial { name: "two_processes", run: two_processes },
    Trial { name: "killed_at_any_moment", run: killed_at_any_moment },
    Trial { name: "killed_at_the_doorbell", run: killed_at_the_doorbell },
    Trial { name: "killed_with_queues_parked", run: killed_with_queues_parked },
    Trial { name: "exec_at_any_moment", run: exec_at_any_moment },
    Trial { name: "exit_at_any_moment", run: exit_at_any_moment },
];

/// A process is as dear as so many changes.
const COST: u64 = 100;
/// Processes that end in the midst of each of [`MIDST`], at least.
const ROUNDS: u64 = 2;
/// What each of two processes does beside the other.
const BESIDE: &[Kind] = &[UNMAP, DISCARD];
/// Changes in whose midst processes end, in turn.
const MIDST: &[Kind] = &[UNMAP, RELOCATE, PAGE_OUT, FORK, MISSING];
/// Queues that are parked when a process is killed.
const PARKED: usize = 6;

/// Processes for so many changes.
fn processes(changes: u64) -> u64 {
    changes.div_ceil(COST).max(ROUNDS * MIDST.len() as u64)
}

/// Two processes have different pages at the same addresses.
fn two_processes(changes: u64, seed: u64) -> Result<String, Failure> {
    let before = gauges()?;
    let each = changes.div_ceil(2 * BESIDE.len() as u64);
    let mut processes = 0;
    for kind in BESIDE {
        let children: Result<Vec<_>, _> = [1, 2]
            .map(|salt| {
                Child::start(move || {
                    race::run(kind, salt, each, seed + salt, &AtomicU64::new(0))?;
                    Ok(())
                })
            })
            .into_iter()
            .collect();
        for child in children? {
            child.succeed()?;
            processes += 1;
        }
    }
    await_gauges(before)?;
    Ok(format!("{processes} processes, {} changes", processes * each))
}

/// Changes that have been made when no more will be.
const OVER: u64 = u64::MAX;

/// Starts a process that goes on until it is ended, and ends it after a random
/// number of changes and some more.
fn ends_at_any_moment(
    changes: u64,
    seed: u64,
    in_child: fn(),
    in_parent: fn(Child) -> Outcome,
) -> Result<String, Failure> {
    let mut shared = Region::shared_anonymous(PAGE)?;
    let progress = &views::atomics(&mut shared)[0];
    let mut random = Random::new(seed, &[]);
    let times = processes(changes);
    for time in 0..times {
        let before = gauges()?;
        progress.store(0, Ordering::Relaxed);
        let kind = &MIDST[(time % MIDST.len() as u64) as usize];
        let (until, spins) = (random.bits() % 6, random.bits() % 400);
        let moment = || {
            while progress.load(Ordering::Relaxed) < until {
                thread::yield_now();
            }
            (0..spins).for_each(|_| thread::yield_now());
        };
        let child = Child::start(|| {
            thread::scope(|scope| {
                let race = scope.spawn(|| {
                    let found = race::run(kind, 0, u64::MAX, seed + time, progress);
                    progress.store(OVER, Ordering::Relaxed);
                    found
                });
                moment();
                // It goes on for ever unless something is found wrong, which is to be told.
                if progress.load(Ordering::Relaxed) != OVER {
                    in_child();
                }
                race.join().map_err(|_| "the race panicked")?.map(drop)
            })
        })?;
        moment();
        in_parent(child).map_err(|why| format!("time {time}, {}: {why}", kind.name))?;
        await_gauges(before)?;
    }
    Ok(format!("{times} processes"))
}

fn killed_at_any_moment(changes: u64, seed: u64) -> Result<String, Failure> {
    ends_at_any_moment(changes, seed, || (), Child::kill)
}

fn exit_at_any_moment(changes: u64, seed: u64) -> Result<String, Failure> {
    ends_at_any_moment(changes, seed, || exit_now(0), Child::succeed)
}

fn exec_at_any_moment(changes: u64, seed: u64) -> Result<String, Failure> {
    let become_another = || {
        let error = Command::new("true").exec();
        eprintln!("true: {error}");
    };
    ends_at_any_moment(changes, seed, become_another, Child::succeed)
}

/// Killed as soon as the device has been told of the work: records of faults are on
/// their way, or read, or a group is ready and nobody has looked at it yet.
fn killed_at_the_doorbell(changes: u64, seed: u64) -> Result<String, Failure> {
    let mut random = Random::new(seed, &[]);
    let times = processes(changes);
    for _ in 0..times {
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
    Ok(format!("{times} processes"))
}

/// Killed while a userfaultfd handler keeps the service waiting, and other queues
/// wait behind it.
fn killed_with_queues_parked(changes: u64, _: u64) -> Result<String, Failure> {
    let times = processes(changes);
    for _ in 0..times {
        killed(|asked, never| {
            let (memory, userfault) = Userfault::missing(PARKED * PAGE)?;
            let _queues = parked(&memory, 1)?;
            userfault.next()?;
            asked.reach()?;
            never.wait()
        })?;
    }
    Ok(format!("{times} processes"))
}

/// Queues that each fill so many pages of `memory`.
fn parked(memory: &Region, pages: usize) -> Result<Vec<RawQueue>, Failure> {
    let device = raw_queue::open()?;
    let mut queues = Vec::new();
    for number in 0..PARKED {
        let mut queue = RawQueue::new(&device, 4)?;
        let first = memory.address() + (number * pages * PAGE) as u64;
        // SAFETY: nobody looks at the memory; the process is killed.
        unsafe { queue.post(commands::fill(first, (pages * PAGE) as u64, 1)) };
        queue.ring();
        queues.push(queue);
    }
    Ok(queues)
}
