// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs units, several at once, and then reports what came of them.

use crate::arguments::Arguments;
use farfault_tests::at_once::{as_many_as_fit, at_once};
use farfault_tests::check::{Check, Verdict};
use farfault_tests::costs::Costs;
use farfault_tests::hosting::Hosting;
use farfault_tests::keep::Keep;
use farfault_tests::needs::Needs;
use farfault_tests::results::UnitResult;
use farfault_tests::run::Farfault;
use farfault_tests::unit::{GUEST, Unit};
use libtest_mimic::Trial;
use parking_lot::Mutex;
use std::fs::File;
use std::process::ExitCode;
use std::time::Instant;

/// What all units are run with.
struct Suite<'a> {
    farfault: Farfault,
    arguments: &'a Arguments,
    needs: Needs,
    /// Where units run that are about what is in a guest.
    hosting: Hosting,
    /// Where what came of each unit is written.
    results: Option<Mutex<File>>,
}

/// Runs the `chosen` units.
pub fn run(
    arguments: &Arguments,
    chosen: &[&Unit],
    costs: &Costs,
    needs: Needs,
) -> Result<ExitCode, String> {
    let results = arguments.results_file()?.map(Mutex::new);
    let farfault = Farfault::from_environment()?;
    let hosting = arguments.hosting.map_or_else(|| farfault.fastest(), Ok)?;
    let suite = Suite { farfault, arguments, needs, hosting, results };
    let jobs = arguments.jobs.unwrap_or_else(as_many_as_fit);
    let cost = |unit: &&Unit| costs.of(&format!("{GUEST} {}", unit.name));
    let trials = at_once(chosen, jobs, cost, |unit| suite.trials(unit));
    let trials: Vec<Vec<Trial>> = trials.into_iter().collect::<Result<_, _>>()?;
    // All has been done by now; what is left is to report.
    let arguments = libtest_mimic::Arguments { test_threads: Some(1), ..Default::default() };
    Ok(libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code())
}

impl Suite<'_> {
    /// Runs a unit, and writes what came of it.
    fn trials(&self, unit: &Unit) -> Result<Vec<Trial>, String> {
        let mut farfault = self.farfault.clone();
        if unit.content {
            farfault = farfault.on(self.hosting);
        }
        if let Some(folder) = &self.arguments.keep {
            farfault = farfault.keeping_in(&Keep::folder_of(folder, &unit.name));
        }
        eprintln!("farfault-guest-tests: {}", unit.name);
        let start = Instant::now();
        let checks = run_unit(unit, &farfault, &self.needs);
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("farfault-guest-tests: {} took {seconds:.0} s", unit.name);
        if let Some(file) = &self.results {
            UnitResult::new(&unit.name, seconds, &checks).append(&mut *file.lock())?;
        }
        Ok(checks.into_iter().map(|check| trial(&unit.name, check)).collect())
    }
}

/// Runs it, unless the kernel lacks what it needs; the same of the tests in it.
fn run_unit(unit: &Unit, farfault: &Farfault, needs: &Needs) -> Vec<Check> {
    let lacking = |name: &str| needs.lacking(name, &farfault.kernel);
    if let Some(why) = lacking(&unit.name) {
        return vec![Check::skipped("can be begun", why)];
    }
    if let Some(what) = unit.wants.filter(|_| farfault.hosting() == Hosting::Chain) {
        let why = format!("a guest in a chain of hosts has no {what}");
        return vec![Check::skipped("can be begun", why)];
    }
    let within = |check: &str| lacking(&format!("{}::{check}", unit.name));
    unit.run(farfault).into_iter().map(|check| check.excused(within)).collect()
}

fn trial(unit: &str, check: Check) -> Trial {
    let name = format!("{unit}::{}", check.name);
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

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: &str = include_str!("../../../needs");

    #[test]
    fn a_unit_is_skipped_and_a_test_in_it_excused_for_what_the_kernel_lacks() {
        let failing = |_: &Farfault| {
            let fails = |name: &str| Check::new(name, Err("as expected".to_owned()));
            Ok(vec![fails("ksm"), fails("munmap"), Check::new("thp", Ok(()))])
        };
        let verdicts = |name: &str| {
            let checks = run_unit(
                &Unit::new(name, failing),
                &Farfault::default(),
                &Needs::read(NEEDS).expect("needs"),
            );
            checks.into_iter().map(|check| check.verdict).collect::<Vec<_>>()
        };
        assert!(matches!(verdicts("races::poison")[..], [Verdict::Skipped(_)]));
        let of_a_row = verdicts("matrix::anonymous");
        let [Verdict::Skipped(ksm), Verdict::Failed(_), Verdict::Passed] = &of_a_row[..] else {
            panic!("{of_a_row:?}");
        };
        assert_eq!(ksm, "the kernel lacks CONFIG_KSM");
    }
}
