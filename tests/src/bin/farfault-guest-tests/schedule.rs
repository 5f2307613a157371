// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which scenarios run side by side: a guest without KVM of its own keeps less than two
//! CPUs busy, so two of them at a time take less than one after the other.

use crate::check::Check;
use farfault_tests::run::{Farfault, is_long};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

/// Boots something and says what came of it, or why it could not be begun.
type Run = fn(&Farfault) -> Result<Vec<Check>, String>;

/// What a scenario takes of two CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Another one can run beside it.
    One,
    /// It is to have both.
    Both,
}

/// Something that is booted and looked at.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub load: Load,
    pub run: Run,
}

pub const fn scenario(name: &'static str, load: Load, run: Run) -> Scenario {
    Scenario { name, load, run }
}

/// What two guests take together at most, theirs that host them included.
const MEMORY_FOR_TWO_KIB: u64 = 10 << 20;

/// Runs `chosen` and returns the checks of each, in the order in which they were given.
pub fn run(farfault: &Farfault, chosen: &[Scenario]) -> Vec<(&'static str, Vec<Check>)> {
    let done = Mutex::new(Vec::new());
    for (load, at_once) in [(Load::One, at_once()), (Load::Both, 1)] {
        let queue = Mutex::new(chosen.iter().enumerate().filter(|(_, one)| one.load == load));
        let next = || queue.lock().ok()?.next();
        let work = || {
            while let Some((place, scenario)) = next() {
                let checks = checks(farfault, scenario);
                if let Ok(mut done) = done.lock() {
                    done.push((place, scenario.name, checks));
                }
            }
        };
        thread::scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(work))));
    }
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(place, ..)| *place);
    done.into_iter().map(|(_, name, checks)| (name, checks)).collect()
}

fn checks(farfault: &Farfault, scenario: &Scenario) -> Vec<Check> {
    eprintln!("farfault-guest-tests: {}", scenario.name);
    let start = Instant::now();
    let checks =
        (scenario.run)(farfault).unwrap_or_else(|why| vec![Check::new("can be begun", Err(why))]);
    eprintln!("farfault-guest-tests: {} took {} s", scenario.name, start.elapsed().as_secs());
    checks
}

/// Two, if there are as many CPUs, and memory. Guests of a long run take more of it.
fn at_once() -> usize {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let enough = cpus >= 2 && available_kib(&memory) >= MEMORY_FOR_TWO_KIB;
    if enough && !is_long() { 2 } else { 1 }
}

fn available_kib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
