// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device accesses pages while every kind of change happens to them at full
//! speed, each access judged by the oracle of the program `races`. Which changes there
//! are, and how often each is done, that program knows.
//!
//! `FARFAULT_RACES` is the number of changes of each kind, if not as usual, or as usual
//! in a long run.
//!
//! Behind them, drivers that have been told to go wrong: the oracle must notice.

use farfault_tests::check::{Check, LEAKS, LOG, ensure, found, good_end, ktap, succeeded};
use farfault_tests::ktap as reader;
use farfault_tests::run::{Farfault, Finished, Ran, Step, how_many, script_of, seed};
use std::collections::BTreeSet;

/// Changes of each kind.
const CHANGES: u64 = 1000;
/// The same in a long run.
const CHANGES_LONG: u64 = 100_000;
/// How long a guest may take for so many of each, on the slowest machine.
const SECONDS_FOR_1000: u64 = 480;

/// A boot: the group of changes that happen in it, and what is done with a driver that
/// goes wrong.
struct Boot {
    group: &'static str,
    broken: &'static [Broken],
}

/// A driver that goes wrong, and how that is noticed. It may write where it must not, so
/// the change is one after which the pages are still the test's own; and what is wrong
/// comes last in its boot.
struct Broken {
    parameter: &'static str,
    change: &'static str,
    changes: u64,
    /// Any of them. A comparison that fails (DIFFERS) does not say what was there instead.
    findings: &'static [&'static str],
}

const BOOTS: [Boot; 2] = [
    Boot {
        group: "address-spaces",
        broken: &[Broken {
            parameter: "break_flush",
            change: "mprotect_none",
            changes: 4000,
            findings: &["STALE"],
        }],
    },
    Boot {
        group: "pages-and-files",
        broken: &[
            Broken {
                parameter: "break_dirty",
                change: "free",
                changes: 200,
                findings: &["LOST", "DIFFERS"],
            },
            Broken {
                parameter: "break_flush",
                change: "map_over_file",
                changes: 4000,
                findings: &["STALE", "LOST", "DIFFERS"],
            },
        ],
    },
];

pub fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let (changes, seed) = (how_many("FARFAULT_RACES", CHANGES, CHANGES_LONG)?, seed()?);
    let mut checks = Vec::new();
    for Boot { group, broken } in &BOOTS {
        let finished = boot(farfault, group, broken, changes, seed)?;
        let named = |check: Check| Check { name: format!("{group}::{}", check.name), ..check };
        checks.extend(self::checks(&finished, group, broken).into_iter().map(named));
    }
    Ok(checks)
}

fn boot(farfault: &Farfault, group: &str, broken: &[Broken], changes: u64, seed: u64) -> Ran {
    let races = format!("races --group {group} --changes {changes} --seed {seed}");
    let first = [("list", "races --list"), ("races", &races), LEAKS, LOG];
    let mut steps = first.map(|(name, command)| Step::new(name, command)).to_vec();
    for Broken { parameter, change, changes, .. } in broken {
        let load = format!("unload && insmod /lib/modules/farfault.ko {parameter}=1");
        steps.push(Step::new(format!("load-{parameter}"), load));
        steps.push(Step::new(*parameter, format!("races --change {change} --changes {changes}")));
    }
    let options = [
        "--cpus=2",
        "--memory=1G",
        &format!("--cmdline-append=log_buf_len={}", log_size(changes)),
        &format!("--timeout={}", 240 + changes * SECONDS_FOR_1000 / 1000),
    ];
    farfault.script(&options, &script_of(&steps, ""))
}

/// Room for what the kernel says: it has three lines for each page whose memory fails.
fn log_size(changes: u64) -> u64 {
    const BYTES_EACH: u64 = 300;
    (changes.min(1 << 30) * BYTES_EACH).next_power_of_two().max(8 << 20)
}

fn checks(finished: &Finished, group: &str, broken: &[Broken]) -> Vec<Check> {
    let mut checks = ktap(finished, "races");
    tell(finished);
    checks.push(Check::new("every change was done", all_done(finished, group)));
    checks.extend(good_end(finished));
    for broken in broken {
        let Broken { parameter, .. } = broken;
        let load = succeeded(finished, &format!("load-{parameter}"));
        checks.push(Check::new(format!("{parameter} is loaded"), load));
        checks.push(Check::new(format!("{parameter} is noticed"), noticed(finished, broken)));
    }
    checks
}

/// Shows what the program says of itself.
fn tell(finished: &Finished) {
    let output = found(finished, "races").map(|found| found.output).unwrap_or_default();
    for line in output.lines().filter_map(|line| line.strip_prefix("# ")) {
        println!("note: races: {line}");
    }
}

/// All that the program lists of this group, and it lists no group that is not run.
fn all_done(finished: &Finished, group: &str) -> Result<(), String> {
    let list = found(finished, "list")?.output;
    let listed: Vec<_> = list.lines().filter_map(|line| line.split_once(' ')).collect();
    let stray = listed.iter().find(|(_, group)| BOOTS.iter().all(|boot| boot.group != *group));
    ensure(stray.is_none(), || format!("in a group that is not run: {stray:?}"))?;
    let wanted: BTreeSet<_> =
        listed.iter().filter(|(_, of)| *of == group).map(|(name, _)| (*name).to_owned()).collect();
    let cases = reader::parse(&found(finished, "races")?.output)?;
    let done: BTreeSet<_> = cases.into_iter().map(|case| case.name).collect();
    let differences: Vec<_> = wanted.symmetric_difference(&done).collect();
    ensure(differences.is_empty(), || format!("listed or done only: {differences:?}"))
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
