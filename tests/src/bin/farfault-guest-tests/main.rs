// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Boots headless virtual machines and turns what they print into named tests.
//!
//! Boots are dear where KVM is nested, so each scenario does much in one: it
//! runs first, and every KTAP line, exit code, count and kernel log of it
//! becomes a test that then passes or fails. Words on the command line select
//! scenarios by name.

mod check;
mod exerciser;
mod iommu;
mod machines;
mod matrix;
mod measurements;
mod out_of_memory;
mod pmem;
mod programs;
mod races;
mod refusals;
mod selftests;

use check::{Check, Verdict};
use farfault_tests::run::Farfault;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// Boots something and says what came of it.
type Scenario = fn(&Farfault) -> Vec<Check>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("refusals", refusals::run),
    ("programs", programs::run),
    ("out-of-memory", out_of_memory::run),
    ("selftests", selftests::run),
    ("matrix", matrix::run),
    ("iommu", iommu::run),
    ("machines", machines::run),
    ("pmem", pmem::run),
    ("exerciser", exerciser::run),
    ("races", races::run),
    ("measurements", measurements::run),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The scenarios have been run by then; what is left is to report.
    arguments.test_threads = Some(1);
    let wanted = arguments.filter.take();
    let farfault = match Farfault::from_environment() {
        Ok(farfault) => farfault,
        Err(why) => {
            eprintln!("farfault-guest-tests: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for &(name, scenario) in SCENARIOS {
        if wanted.as_deref().is_none_or(|wanted| name.contains(wanted)) {
            eprintln!("farfault-guest-tests: {name}");
            trials.extend(scenario(&farfault).into_iter().map(|check| trial(name, check)));
        }
    }
    if trials.is_empty() {
        eprintln!("farfault-guest-tests: no scenario is called so");
        return ExitCode::FAILURE;
    }
    libtest_mimic::run(&arguments, trials).exit_code()
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
