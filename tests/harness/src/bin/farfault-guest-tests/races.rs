// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device accesses pages while every kind of change happens to them at full
//! speed, each access judged by the oracle of the program `races`. Two boots, so
//! that a guest which is lost does not take all with it.
//!
//! `FARFAULT_RACES` is the number of changes of each kind, if not as usual, or as usual
//! in a long run.
//!
//! Behind them, drivers that have been told to go wrong: the oracle must notice.

use crate::check::{Check, clean_log, ensure, exit_code, found, gauges, ktap, succeeded};
use farfault_tests::gauges::COUNTERS;
use farfault_tests::run::{Farfault, Finished, Step, how_many, script_of};
use std::collections::BTreeSet;

/// Changes of each kind, or of two that are halves of one.
const CHANGES: u64 = 2000;
/// The same in a long run.
const CHANGES_LONG: u64 = 100_000;
/// How long a guest may take for so many of each, on the slowest machine.
const SECONDS_FOR_1000: u64 = 480;
/// One command for so many changes must overlap one, at least.
const MET: u64 = 20;
/// Processes that end, at least, in each trial that ends them.
const PROCESSES: u64 = 10;

/// A boot: its name, and what happens in it.
struct Group {
    name: &'static str,
    /// Changes, each done as often as is said above.
    kinds: &'static [&'static str],
    /// The same change to other memory, or in another way: each is done half as often.
    halves: &'static [[&'static str; 2]],
    /// What else is tried.
    trials: &'static [&'static str],
    /// What is done with a driver that goes wrong.
    broken: &'static [Broken],
}

impl Group {
    /// The kinds, in the step that does `changes` of each and in that which does half.
    fn steps(&self, changes: u64) -> [(String, &'static [&'static str], u64); 2] {
        let halves = self.halves.as_flattened();
        [
            (self.name.to_owned(), self.kinds, changes),
            (format!("{}-halves", self.name), halves, changes.div_ceil(2)),
        ]
    }
}

/// A driver that goes wrong, and how that is noticed. It may write where it must not, so
/// the change is one after which the pages are still the test's own; and what is wrong
/// comes last in its boot.
struct Broken {
    parameter: &'static str,
    change: &'static str,
    changes: u64,
    /// Any of them.
    findings: &'static [&'static str],
}

const GROUPS: [Group; 2] = [
    Group {
        name: "address-spaces",
        kinds: &["mremap", "mremap_resize", "mremap_dontunmap", "fork"],
        halves: &[
            ["munmap", "munmap_hugetlb"],
            ["mprotect_read", "mprotect_none"],
            ["map_over", "map_over_file"],
        ],
        trials: &[
            "retries_have_moved",
            "coalesced_have_moved",
            "stale_faults_have_moved",
            "two_processes",
            "killed_at_any_moment",
            "killed_at_the_doorbell",
            "killed_with_queues_parked",
            "exec_at_any_moment",
            "exit_at_any_moment",
            "ends_when_posted",
            "ends_when_drained",
            "ends_when_ready",
            "ends_when_taken",
            "ends_when_found",
            "ends_when_served",
        ],
        broken: &[Broken {
            parameter: "break_flush",
            change: "mprotect_none",
            changes: 4000,
            findings: &["STALE"],
        }],
    },
    Group {
        name: "pages-and-files",
        kinds: &[
            "free",
            "collapse_split",
            "userfault",
            "ksm",
            "hwpoison",
            "writeback",
            "collapse_range_ext4",
            "reflink_xfs",
        ],
        halves: &[
            ["pageout", "swap_in"],
            ["dontneed", "private_file"],
            ["compaction", "migration"],
            ["truncate", "truncate_ext4"],
            ["punch_hole", "punch_hole_ext4"],
        ],
        trials: &[],
        broken: &[
            Broken {
                parameter: "break_dirty",
                change: "free",
                changes: 200,
                // A comparison that fails does not say what was there instead.
                findings: &["LOST", "STALE"],
            },
            Broken {
                parameter: "break_flush",
                change: "map_over_file",
                changes: 4000,
                findings: &["STALE", "LOST"],
            },
        ],
    },
];

pub fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let changes = how_many("FARFAULT_RACES", CHANGES, CHANGES_LONG)?;
    let mut checks = Vec::new();
    for group in &GROUPS {
        checks.extend(boot(farfault, group, changes)?);
    }
    Ok(checks)
}

fn boot(farfault: &Farfault, group: &Group, changes: u64) -> Result<Vec<Check>, String> {
    let step =
        |name: &str, command: &str| Step { name: name.to_owned(), command: command.to_owned() };
    let [whole, halves] = group.steps(changes).map(|(name, kinds, changes)| {
        let mut names = kinds.to_vec();
        names.extend(group.trials.iter().filter(|_| name == group.name));
        step(&name, &format!("races --change {} --changes {changes}", names.join(",")))
    });
    let mut steps = vec![
        step("list", "races --list"),
        whole,
        halves,
        step("gauges", COUNTERS),
        step("log", "dmesg"),
    ];
    for Broken { parameter, change, changes, .. } in group.broken {
        let load = format!("rmmod farfault && insmod /lib/modules/farfault.ko {parameter}=1");
        steps.push(step(&format!("load-{parameter}"), &load));
        steps.push(step(parameter, &format!("races --change {change} --changes {changes}")));
    }
    let options = [
        "--cpus=2".to_owned(),
        "--memory=1G".to_owned(),
        format!("--cmdline-append=log_buf_len={}", log_size(changes)),
        format!("--timeout={}", 240 + changes * SECONDS_FOR_1000 / 1000),
    ];
    let finished = farfault.script(&options, &script_of(&steps, ""))?;
    let named = |check: Check| Check { name: format!("{}::{}", group.name, check.name), ..check };
    Ok(checks(&finished, group, changes).into_iter().map(named).collect())
}

/// Room for what the kernel says: it has three lines for each page whose memory fails.
fn log_size(changes: u64) -> u64 {
    const BYTES_EACH: u64 = 300;
    (changes.min(1 << 30) * BYTES_EACH).next_power_of_two().max(8 << 20)
}

fn checks(finished: &Finished, group: &Group, changes: u64) -> Vec<Check> {
    let mut checks = Vec::new();
    for (step, kinds, changes) in group.steps(changes) {
        checks.extend(ktap(finished, &step));
        tell(finished, &step);
        for kind in kinds {
            let mut at_least = |what: &str, wanted, unit| {
                let done = at_least(finished, &step, kind, wanted, unit);
                checks.push(Check::new(format!("{kind}: {what}"), done));
            };
            at_least("was done as often as promised", changes, "changes");
            at_least("commands met it", changes / MET, "overlapped by a change");
        }
    }
    for trial in
        group.trials.iter().filter(|trial| trial.contains("_at_") || trial.contains("_when_"))
    {
        let done = at_least(finished, group.name, trial, PROCESSES, "processes");
        checks.push(Check::new(format!("{trial} was done as often as promised"), done));
    }
    checks.push(Check::new("every change is in a group", listed(finished)));
    checks.push(Check::new("exit code", exit_code(finished, 0)));
    checks.push(Check::new("log is clean", clean_log(finished, "log")));
    checks.push(Check::new("gauges are back at zero", gauges(finished)));
    for broken in group.broken {
        let load = succeeded(finished, &format!("load-{}", broken.parameter));
        checks.push(Check::new(format!("{} is loaded", broken.parameter), load));
        checks.push(Check::new(
            format!("{} is noticed", broken.parameter),
            noticed(finished, broken),
        ));
    }
    checks
}

/// Shows what the step says of itself.
fn tell(finished: &Finished, step: &str) {
    let output = found(finished, step).map(|found| found.output).unwrap_or_default();
    for line in output.lines().filter_map(|line| line.strip_prefix("# ")) {
        println!("note: races: {line}");
    }
}

/// The line "# NAME: N UNIT…" says that it was done so often.
fn at_least(
    finished: &Finished,
    step: &str,
    name: &str,
    wanted: u64,
    unit: &str,
) -> Result<(), String> {
    let output = found(finished, step)?.output;
    let prefix = format!("# {name}: ");
    let line = output.lines().find_map(|line| line.strip_prefix(&prefix));
    let line = line.ok_or_else(|| format!("no line says what {name} did in\n{output}"))?;
    let done = line.split(", ").find_map(|part| part.strip_suffix(unit)?.trim().parse().ok());
    ensure(done.is_some_and(|done: u64| done >= wanted), || {
        format!("{name} was to do {wanted} {unit}: {line}")
    })
}

/// The groups have all that the program knows.
fn listed(finished: &Finished) -> Result<(), String> {
    let output = found(finished, "list")?.output;
    let listed: BTreeSet<&str> = output.lines().filter_map(|line| line.split(' ').next()).collect();
    let kinds = GROUPS.iter().flat_map(|group| group.steps(0)).flat_map(|(_, kinds, _)| kinds);
    let trials = GROUPS.iter().flat_map(|group| group.trials);
    let grouped: BTreeSet<&str> = kinds.chain(trials).copied().collect();
    let differences: Vec<_> = listed.symmetric_difference(&grouped).collect();
    ensure(differences.is_empty(), || format!("on one side only: {differences:?}"))
}

/// The program fails, and by the right finding.
fn noticed(finished: &Finished, broken: &Broken) -> Result<(), String> {
    let section = found(finished, broken.parameter)?;
    let told = broken.findings.iter().any(|finding| {
        let words = format!(": {finding} page ");
        section.output.lines().any(|line| line.starts_with("# ") && line.contains(&words))
    });
    ensure(section.code == Some(1) && told, || {
        format!("exit code {:?}, no finding in\n{}", section.code, section.output)
    })
}
