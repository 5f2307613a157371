// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Boots headless virtual machines and turns what they print into named tests.
//!
//! Boots are dear where KVM is nested, so each scenario does much in one: it
//! runs first, and every KTAP line, exit code, count and kernel log of it
//! becomes a test that then passes or fails. A word on the command line selects
//! the scenarios whose names have it in them.

mod exerciser;
mod iommu;
mod kept_states;
mod lifecycle;
mod machines;
mod matrix;
mod measurements;
mod older_kernels;
mod out_of_memory;
mod pmem;
mod programs;
mod races;
mod refusals;
mod removal;
mod selftests;

use farfault_tests::check::{Check, Verdict};
use farfault_tests::run::Farfault;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use std::time::Instant;

/// Boots, and says what came of it, or why it could not be begun.
type Scenario = fn(&Farfault) -> Result<Vec<Check>, String>;

/// What there is to choose from by name. One at a time: on two CPUs, two emulated guests side
/// by side take longer than one after the other.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("kept-states", kept_states::run),
    ("refusals", refusals::run),
    ("programs", programs::run),
    ("selftests", selftests::run),
    ("out-of-memory", out_of_memory::run),
    ("measurements", measurements::run),
    ("iommu", iommu::run),
    ("lifecycle", lifecycle::run),
    ("exerciser", exerciser::run),
    ("pmem", pmem::run),
    ("matrix", matrix::run),
    ("machines", machines::run),
    ("older-kernels", older_kernels::run),
    ("races", races::run),
    ("removal", removal::run),
];

/// Exit code for a wrong command line.
const BAD_USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The scenarios have been run by then; what is left is to report.
    arguments.test_threads = Some(1);
    let wanted = arguments.filter.take().unwrap_or_default();
    let farfault = match Farfault::from_environment() {
        Ok(farfault) => farfault,
        Err(why) => {
            eprintln!("farfault-guest-tests: {why}");
            return ExitCode::FAILURE;
        }
    };
    let chosen: Vec<_> = SCENARIOS.iter().filter(|(name, _)| name.contains(&wanted)).collect();
    if chosen.is_empty() {
        let known: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        eprintln!("farfault-guest-tests: no scenario is called '{wanted}'; there are: {known}");
        return ExitCode::from(BAD_USAGE);
    }
    let trials = chosen
        .into_iter()
        .flat_map(|(name, run)| {
            checks(&farfault, name, *run).into_iter().map(move |check| trial(name, check))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn checks(farfault: &Farfault, name: &str, run: Scenario) -> Vec<Check> {
    eprintln!("farfault-guest-tests: {name}");
    let start = Instant::now();
    let checks = run(farfault).unwrap_or_else(|why| vec![Check::new("can be begun", Err(why))]);
    eprintln!("farfault-guest-tests: {name} took {} s", start.elapsed().as_secs());
    checks
}

fn trial(scenario: &str, check: Check) -> Trial {
    let name = format!("{scenario}::{}", check.name);
    if let Verdict::Skipped(why) = &check.verdict {
        println!("skipped: {name}: {why}");
    }
    let skipped = matches!(check.verdict, Verdict::Skipped(_));
    Trial::test(name, move || match check.verdict {
        Verdict::Passed | Verdict::Skipped(_) => Ok(()),
        Verdict::Failed(why) => Err(why.into()),
    })
    .with_ignored_flag(skipped)
}
