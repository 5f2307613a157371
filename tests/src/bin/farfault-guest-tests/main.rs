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
mod schedule;
mod selftests;

use check::{Check, Verdict};
use farfault_tests::run::Farfault;
use libtest_mimic::{Arguments, Trial};
use schedule::{Load, Scenario, scenario};
use std::process::ExitCode;

/// The longest first, so that both of a pair end at about the same time.
const SCENARIOS: [Scenario; 11] = [
    scenario("matrix", Load::One, matrix::run),
    scenario("machines", Load::One, machines::run),
    scenario("exerciser", Load::One, exerciser::run),
    scenario("pmem", Load::One, pmem::run),
    scenario("iommu", Load::One, iommu::run),
    scenario("measurements", Load::One, measurements::run),
    scenario("programs", Load::One, programs::run),
    scenario("selftests", Load::One, selftests::run),
    scenario("out-of-memory", Load::One, out_of_memory::run),
    scenario("refusals", Load::One, refusals::run),
    scenario("races", Load::Both, races::run),
];

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
    let mut chosen = SCENARIOS.to_vec();
    chosen.retain(|scenario| scenario.name.contains(&wanted));
    if chosen.is_empty() {
        eprintln!("farfault-guest-tests: no scenario is called {wanted}");
        return ExitCode::FAILURE;
    }
    let done = schedule::run(&farfault, &chosen);
    let trials = done
        .into_iter()
        .flat_map(|(name, checks)| checks.into_iter().map(move |check| trial(name, check)))
        .collect();
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
