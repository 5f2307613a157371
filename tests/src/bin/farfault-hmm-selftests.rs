// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the kernel's HMM selftest for our device and for the kernel's simulated
//! one in one boot, and prints what came of each case in two columns. The last
//! line, and the exit code, are about our device. See scripts/hmm-selftests.

use farfault_tests::hmm_selftests::{self, Row};
use farfault_tests::ktap::Outcome;
use farfault_tests::run::{Farfault, section};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(rows) => report(&rows),
        Err(why) => {
            eprintln!("hmm-selftests: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Vec<Row>, String> {
    let farfault = Farfault::from_environment()?;
    let made = hmm_selftests::from_environment()?;
    let finished = hmm_selftests::run(&farfault, &made, &[], &[])?;
    let output = |step: &str| {
        section(&finished.stdout, step).map(|section| section.output).ok_or_else(|| {
            format!(
                "the guest ended before the step '{step}', with exit code {:?}\n{}{}",
                finished.code, finished.stdout, finished.stderr
            )
        })
    };
    hmm_selftests::rows(&hmm_selftests::source(&made)?, &output("ours")?, &output("control")?)
}

fn report(rows: &[Row]) -> ExitCode {
    println!("{:<28} {:<10} {:<10} remark", "case", "farfault", "test_hmm");
    for row in rows {
        let (ours, why) = words(&row.ours);
        let line = format!("{:<28} {ours:<10} {:<10} {why}", row.name, words(&row.control).0);
        println!("{}", line.trim_end());
        // Of a case that is excused, what it ended with is no news.
        let failed = row.ours == Outcome::Failed;
        for complaint in row.complaints.iter().filter(|_| failed) {
            println!("    line {}: {}", complaint.line, complaint.text);
        }
    }
    let count = |wanted: &str| rows.iter().filter(|row| words(&row.ours).0 == wanted).count();
    let (passed, skipped, failed) = (count("passed"), count("skipped"), count("FAILED"));
    println!("hmm-selftests: {passed} passed, {skipped} skipped, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn words(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Passed => ("passed", ""),
        Outcome::Failed => ("FAILED", ""),
        Outcome::Skipped(why) => ("skipped", why),
    }
}
