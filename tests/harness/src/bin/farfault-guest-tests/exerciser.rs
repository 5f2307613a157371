// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The exerciser works on every kind of file system: with DAX, with a page cache above a
//! block device, and in memory.
//!
//! `FARFAULT_EXERCISER` is the number of operations on each, if not as usual, or
//! as usual in a nightly run.

use farfault_tests::check::{Check, LEAKS, LOG, ensure, found, good_end_but, number, succeeded};
use farfault_tests::run::{
    Farfault, Finished, LOADS_XFS, Step, host_file, how_many, script_of, seed,
};
use farfault_tests::unit::{PERSISTENT_MEMORY, Unit};

const OPERATIONS: u64 = 1500;
const OPERATIONS_NIGHTLY: u64 = 10_000;
/// How long a guest may take for so many operations on each, on the slowest machine.
const SECONDS_FOR_1000: u64 = 240;

/// A file system: its name, which is its folder too, its disk, and what is done on it.
struct FileSystem {
    name: &'static str,
    disk: &'static str,
    runs: &'static [Run],
}

/// A run of the exerciser: what its step is called behind the file system's name, its
/// options, and how many times fewer operations it does.
struct Run {
    suffix: &'static str,
    options: &'static str,
    share: u64,
    reflink: bool,
}

const fn whole(reflink: bool) -> Run {
    Run { suffix: "", options: "", share: 1, reflink }
}

/// On a file that is large enough for DAX to map it by huge pages.
/// Without reflinks: of such a file with blocks that are shared, xfs of Linux 7.2 loses a
/// zeroing, or refuses to collapse a range, with and without a device (operation 1547 with
/// `--seed 3`, and 867 with `--seed 1`, also with `--cpu-only`).
const LARGE: Run = Run {
    suffix: "-large",
    options: "--file-size 8388608 --without reflink",
    share: 5,
    reflink: false,
};

/// As long as no block is shared, the mapping stays in page tables whatever is done.
const MAPPED: Run = Run { suffix: "", options: "--without reflink", share: 2, reflink: false };
const SHARED: Run = Run { suffix: "-reflink", options: "", share: 2, reflink: true };

/// Warns of a block with DAX that is shared, and mapped when it is copied: guest-driver/kernel-bugs.md.
/// The exerciser takes the mapping out before, but the device may be faster.
const SHARED_BUG: &str = "dax_disassociate_entry";

static FILE_SYSTEMS: [FileSystem; 5] = [
    FileSystem { name: "ext4-dax", disk: "/dev/pmem0", runs: &[whole(false), LARGE] },
    FileSystem { name: "xfs-dax", disk: "/dev/pmem0", runs: &[MAPPED, SHARED, LARGE] },
    FileSystem { name: "ext4", disk: "/dev/ram0", runs: &[whole(false)] },
    FileSystem { name: "xfs", disk: "/dev/ram0", runs: &[whole(true)] },
    FileSystem { name: "tmpfs", disk: "tmpfs", runs: &[whole(false)] },
];

impl FileSystem {
    fn is_dax(&self) -> bool {
        self.disk.starts_with("/dev/pmem")
    }

    /// Each run with the name of its step, and the number of its operations.
    fn steps(&self, operations: u64) -> impl Iterator<Item = (&Run, String, u64)> {
        self.runs.iter().map(move |run| {
            (run, format!("{}{}", self.name, run.suffix), operations.div_ceil(run.share))
        })
    }
}

pub fn units() -> Vec<Unit> {
    let unit = |system: &'static FileSystem| {
        Unit::new(format!("exerciser::{}", system.name), |farfault| run(farfault, system))
            .of_content()
            .wants(system.is_dax().then_some(PERSISTENT_MEMORY))
    };
    FILE_SYSTEMS.iter().map(unit).collect()
}

fn run(farfault: &Farfault, system: &FileSystem) -> Result<Vec<Check>, String> {
    let operations = how_many("FARFAULT_EXERCISER", OPERATIONS, OPERATIONS_NIGHTLY)?;
    let disk = host_file()?;
    let mut options = vec![
        "--cpus=2".to_owned(),
        "--memory=1G".to_owned(),
        format!("--timeout={}", 240 + operations * SECONDS_FOR_1000 / 1000),
    ];
    if system.is_dax() {
        options.push(format!("--pmem={},size=352M", disk.path().display()));
    }
    if system.name.starts_with("xfs") {
        options.push(LOADS_XFS.to_owned());
    }
    let script = script_of(&steps(system, operations, seed()?), "");
    Ok(checks(&farfault.script(&options, &script)?, system, operations))
}

fn steps(system: &FileSystem, operations: u64, seed: u64) -> Vec<Step> {
    let FileSystem { name, disk, .. } = system;
    let mut steps = vec![
        Step::new("disks", "prepare disks"),
        Step::new("made", format!("prepare {name} {disk} /{name}")),
    ];
    for (run, called, operations) in system.steps(operations) {
        let options = run.options;
        let command =
            format!("exerciser /{name} {options} --operations {operations} --seed {seed}");
        steps.push(Step::new(called, command));
    }
    let end = format!("umount /{name}");
    steps.extend(
        [("end", end.as_str()), LEAKS, LOG].map(|(name, command)| Step::new(name, command)),
    );
    steps
}

fn checks(finished: &Finished, system: &FileSystem, operations: u64) -> Vec<Check> {
    let mut checks = vec![
        Check::new("disks", succeeded(finished, "disks")),
        Check::new("is made", succeeded(finished, "made")),
    ];
    for (run, step, operations) in system.steps(operations) {
        let result = exercised(finished, system, run, &step, operations);
        checks.push(Check::new(&step, result));
        if run.suffix == LARGE.suffix {
            checks.push(Check::new(format!("{step}::by huge pages"), huge(finished, &step)));
        }
    }
    checks.push(Check::new("can be unmounted", succeeded(finished, "end")));
    let bug = system.runs.iter().any(|run| run.reflink && system.is_dax()).then_some(SHARED_BUG);
    checks.extend(good_end_but(finished, bug));
    checks
}

/// What the exerciser said in the end.
fn summary(finished: &Finished, step: &str) -> Result<String, String> {
    let output = found(finished, step)?.output;
    let line = output.lines().find(|line| line.starts_with("exerciser: verified="));
    line.map(str::to_owned).ok_or_else(|| format!("no summary in\n{output}"))
}

/// It was done to the end, by CPU and device, with all that the file system is there for.
fn exercised(
    finished: &Finished,
    system: &FileSystem,
    run: &Run,
    step: &str,
    operations: u64,
) -> Result<(), String> {
    succeeded(finished, step)?;
    let line = summary(finished, step)?;
    println!("note: {step}: {line}");
    let says = |pair: String| {
        let there = line.split_whitespace().any(|word| word == pair);
        ensure(there, || format!("no {pair} in: {line}"))
    };
    let on_disk = system.disk.starts_with("/dev/");
    says("verified=yes".to_owned())?;
    says(format!("operations={operations}"))?;
    says(format!("map_sync={}", system.is_dax()))?;
    says(format!("reflink={}", run.reflink))?;
    says(format!("collapse={on_disk}"))?;
    says(format!("insert={on_disk}"))?;
    says("punch=true".to_owned())?;
    for (what, share) in [("cpu", 15), ("device", 5), ("refused", 40)] {
        ensure(number(&line, what).is_some_and(|value| value >= operations / share), || {
            format!("{what} in less than one of {share} operations: {line}")
        })?;
    }
    Ok(())
}

/// The CPU had huge pages of the file mapped, and the device had those, too.
fn huge(finished: &Finished, step: &str) -> Result<(), String> {
    let line = summary(finished, step)?;
    let [seen, leaves] = ["large", "leaves_2m"].map(|name| number(&line, name).unwrap_or(0));
    ensure(seen > 0 && leaves > 0, || format!("no huge page in: {line}"))
}
