// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device accesses pages while every kind of change happens to them at full
//! speed, each access judged by the oracle of the program `races`. Which changes there
//! are, and how often each is done, that program knows.
//!
//! `FARFAULT_RACES` is the number of changes of each kind, if not as usual, or as usual
//! in a nightly run.
//!
//! And drivers that have been told to go wrong: the oracle must notice.

use farfault_tests::check::{
    Check, LEAKS, LOG, ensure, exit_code, found, good_end, ktap, succeeded,
};
use farfault_tests::ktap as reader;
use farfault_tests::run::{Farfault, Finished, Step, USUAL, how_many, script_of, seed};
use farfault_tests::unit::Unit;
use std::collections::BTreeSet;

/// Changes of each kind.
const CHANGES: u64 = 300;
/// The same in a nightly run.
const CHANGES_NIGHTLY: u64 = 2000;
/// How long a guest may take for so many of each, on the slowest machine.
const SECONDS_FOR_1000: u64 = 480;

/// The groups of changes; each has a machine. A test sees to it that there are no others.
const GROUPS: [&str; 11] = [
    "mappings",
    "forks",
    "advice",
    POISON,
    "files",
    "blocks",
    "kernel",
    "userfaults",
    "remote",
    "processes",
    "stages",
];
/// The group of which the kernel says much.
const POISON: &str = "poison";

/// A driver that goes wrong, and how that is noticed. It may write where it must not, so
/// the change is one after which the pages are still the test's own.
struct Broken {
    parameter: &'static str,
    change: &'static str,
    changes: u64,
    /// Any of them. A comparison that fails (DIFFERS) does not say what was there instead.
    findings: &'static [&'static str],
}

const BROKEN: [Broken; 3] = [
    Broken {
        parameter: "break_flush",
        change: "mprotect_none",
        changes: 4000,
        findings: &["STALE"],
    },
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
];

pub fn units() -> Vec<Unit> {
    let group = |name| {
        Unit::new(format!("races::{name}"), move |farfault| group(farfault, name)).of_content()
    };
    let broken = Unit::new("races::broken-drivers", broken).of_content();
    GROUPS.into_iter().map(group).chain([broken]).collect()
}

fn group(farfault: &Farfault, group: &str) -> Result<Vec<Check>, String> {
    let (changes, seed) = (how_many("FARFAULT_RACES", CHANGES, CHANGES_NIGHTLY)?, seed()?);
    let races = format!("races --group {group} --changes {changes} --seed {seed}");
    let steps = [("list", "races --list"), ("races", &races), LEAKS, LOG];
    let steps = steps.map(|(name, command)| Step::new(name, command));
    let mut options = vec!["--cpus=2".to_owned(), "--memory=1G".to_owned()];
    options.push(format!("--timeout={}", 240 + changes * SECONDS_FOR_1000 / 1000));
    if group == POISON {
        options.push(format!("--cmdline-append=log_buf_len={}", log_size(changes)));
    }
    let finished = farfault.script(&options, &script_of(&steps, ""))?;
    tell(&finished);
    let mut checks: Vec<Check> =
        ktap(&finished, "races").into_iter().map(|check| check.within("races")).collect();
    checks.push(Check::new("every change was done", all_done(&finished, group)));
    checks.extend(good_end(&finished));
    Ok(checks)
}

fn broken(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let step = |Broken { parameter, change, changes, .. }: &Broken| {
        let load = format!("unload && insmod /lib/modules/farfault.ko {parameter}=1");
        let races = format!("races --change {change} --changes {changes}");
        [Step::new(format!("load-{change}"), load), Step::new(*change, races)]
    };
    let steps: Vec<Step> = BROKEN.iter().flat_map(step).collect();
    let finished = farfault.script(&USUAL, &script_of(&steps, ""))?;
    let check = |broken: &Broken| {
        let Broken { parameter, change, .. } = broken;
        let load = succeeded(&finished, &format!("load-{change}"));
        [
            Check::new(format!("{parameter} is loaded for {change}"), load),
            Check::new(format!("{change} notices {parameter}"), noticed(&finished, broken)),
        ]
    };
    let mut checks: Vec<Check> = BROKEN.iter().flat_map(check).collect();
    checks.push(Check::new("exit code", exit_code(&finished, 0)));
    Ok(checks)
}

/// Room for what the kernel says: it has three lines for each page whose memory fails.
fn log_size(changes: u64) -> u64 {
    const BYTES_EACH: u64 = 300;
    (changes.min(1 << 30) * BYTES_EACH).next_power_of_two().max(8 << 20)
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
    let stray = listed.iter().find(|(_, group)| !GROUPS.contains(group));
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
    let section = found(finished, broken.change)?;
    let told = broken.findings.iter().any(|finding| {
        let words = format!(": {finding} page ");
        section.output.lines().any(|line| line.starts_with("# ") && line.contains(&words))
    });
    ensure(section.code == Some(1) && told, || {
        format!("exit code {:?}, no finding in\n{}", section.code, section.output)
    })
}
