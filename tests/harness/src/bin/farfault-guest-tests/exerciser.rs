// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One boot in which the exerciser works on every kind of file system: with DAX,
//! with a page cache above a block device, and in memory.
//!
//! `FARFAULT_EXERCISER` is the number of operations on each, if not as usual, or
//! as usual in a long run.

use crate::check::{Check, clean_log, ensure, exit_code, found, gauges, succeeded};
use farfault_tests::gauges::COUNTERS;
use farfault_tests::run::{Farfault, Finished, Step, host_file, how_many, script_of, seed};

const OPERATIONS: u64 = 1500;
const OPERATIONS_LONG: u64 = 100_000;
/// How long a guest may take for so many operations on each, on the slowest machine.
const SECONDS_FOR_1000: u64 = 240;

/// On a file that is large enough for DAX to map it by huge pages, so many times fewer.
const LARGE_SHARE: u64 = 5;
/// Without reflinks: of such a file with blocks that are shared, xfs of Linux 7.2 loses a
/// zeroing, or refuses to collapse a range, with and without a device (operation 1547 with
/// `--seed 3`, and 867 with `--seed 1`, also with `--cpu-only`).
const LARGE: &str = "--file-size 8388608 --without reflink";

/// A file system: its name, which is its folder too, and its disk.
const FILE_SYSTEMS: [(&str, &str); 5] = [
    ("ext4-dax", "/dev/pmem0"),
    ("xfs-dax", "/dev/pmem1"),
    ("ext4", "/dev/ram0"),
    ("xfs", "/dev/ram1"),
    ("tmpfs", "tmpfs"),
];

pub fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let operations = how_many("FARFAULT_EXERCISER", OPERATIONS, OPERATIONS_LONG)?;
    let (first, second) = (host_file()?, host_file()?);
    let options = [
        "--cpus=2".to_owned(),
        "--memory=1G".to_owned(),
        format!("--timeout={}", 240 + operations * SECONDS_FOR_1000 / 1000),
        format!("--pmem={},size=352M", first.path().display()),
        format!("--pmem={},size=352M", second.path().display()),
    ];
    let finished = farfault.script(&options, &script_of(&steps(operations, seed()?), ""))?;
    Ok(checks(&finished, operations))
}

fn is_dax(name: &str) -> bool {
    name.ends_with("-dax")
}

fn large(operations: u64) -> u64 {
    operations.div_ceil(LARGE_SHARE)
}

fn steps(operations: u64, seed: u64) -> Vec<Step> {
    let step = |name: &str, command: String| Step { name: name.to_owned(), command };
    let mut steps = vec![step("disks", "prepare disks".to_owned())];
    for (name, disk) in FILE_SYSTEMS {
        let exercise = format!("exerciser /{name} --operations {operations} --seed {seed}");
        steps.push(step(name, format!("prepare {name} {disk} /{name} && {exercise}")));
        if is_dax(name) {
            let operations = large(operations);
            let exercise =
                format!("exerciser /{name} {LARGE} --operations {operations} --seed {seed}");
            steps.push(step(&format!("{name}-large"), exercise));
        }
        steps.push(step(&format!("{name}-end"), format!("umount /{name}")));
    }
    steps.push(step("gauges", COUNTERS.to_owned()));
    steps.push(step("log", "dmesg".to_owned()));
    steps
}

fn checks(finished: &Finished, operations: u64) -> Vec<Check> {
    let mut checks = vec![Check::new("disks", succeeded(finished, "disks"))];
    for (name, _) in FILE_SYSTEMS {
        checks.push(Check::new(name, exercised(finished, name, name, operations)));
        if is_dax(name) {
            let step = format!("{name}-large");
            let result = exercised(finished, name, &step, large(operations));
            checks.push(Check::new(&step, result));
            checks.push(Check::new(format!("{step}::by huge pages"), huge(finished, &step)));
        }
        let end = succeeded(finished, &format!("{name}-end"));
        checks.push(Check::new(format!("{name}::can be unmounted"), end));
    }
    checks.push(Check::new("exit code", exit_code(finished, 0)));
    checks.push(Check::new("gauges are back at zero", gauges(finished)));
    checks.push(Check::new("log is clean", clean_log(finished, "log")));
    checks
}

/// What the exerciser said in the end.
fn summary(finished: &Finished, step: &str) -> Result<String, String> {
    let output = found(finished, step)?.output;
    let line = output.lines().find(|line| line.starts_with("exerciser: verified="));
    line.map(str::to_owned).ok_or_else(|| format!("no summary in\n{output}"))
}

/// The number that a summary gives for `name`.
fn count(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// It was done to the end, by CPU and device, with all that the file system is there for.
fn exercised(finished: &Finished, name: &str, step: &str, operations: u64) -> Result<(), String> {
    succeeded(finished, step)?;
    let line = summary(finished, step)?;
    println!("note: {step}: {line}");
    let says = |pair: String| {
        let there = line.split_whitespace().any(|word| word == pair);
        ensure(there, || format!("no {pair} in: {line}"))
    };
    says("verified=yes".to_owned())?;
    says(format!("operations={operations}"))?;
    says(format!("map_sync={}", is_dax(name)))?;
    says(format!("reflink={}", step.starts_with("xfs") && step == name))?;
    says(format!("collapse={}", name != "tmpfs"))?;
    says(format!("insert={}", name != "tmpfs"))?;
    says("punch=true".to_owned())?;
    for (what, share) in [("cpu", 15), ("device", 5), ("refused", 40)] {
        ensure(count(&line, what).is_some_and(|value| value >= operations / share), || {
            format!("{what} in less than one of {share} operations: {line}")
        })?;
    }
    Ok(())
}

/// The CPU had huge pages of the file mapped, and the device had those, too.
fn huge(finished: &Finished, step: &str) -> Result<(), String> {
    let line = summary(finished, step)?;
    let [seen, leaves] = ["large", "leaves_2m"].map(|name| count(&line, name).unwrap_or(0));
    ensure(seen > 0 && leaves > 0, || format!("no huge page in: {line}"))
}
