// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the kernel's HMM selftest for our device and for the kernel's simulated
//! one in one boot, and prints what came of each case in two columns. The last
//! line, and the exit code, are about our device. See scripts/hmm-selftests.

use farfault_tests::check::{Check, LEAKS, LOG, clean_log, found, good_end};
use farfault_tests::hmm_selftests::{self, Row};
use farfault_tests::ktap::Outcome;
use farfault_tests::run::{Farfault, Step};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok((rows, complaints)) => report(&rows, &complaints),
        Err(why) => {
            eprintln!("hmm-selftests: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The cases, and what else was found wrong.
fn run() -> Result<(Vec<Row>, Vec<String>), String> {
    let farfault = Farfault::from_environment()?;
    let made = hmm_selftests::from_environment()?;
    let more = [LEAKS, LOG].map(|(name, command)| Step::new(name, command));
    let after = Step::new("log-after", LOG.1);
    let finished = hmm_selftests::run(&farfault, &made, &more, &[after])?;
    let output = |step: &str| found(&finished, step).map(|found| found.output);
    let rows =
        hmm_selftests::rows(&hmm_selftests::source(&made)?, &output("ours")?, &output("control")?)?;

    let log_after = Check::new("log is clean at the end", clean_log(&finished, "log-after"));
    let checks = good_end(&finished).into_iter().chain([log_after]);
    let mut complaints: Vec<String> = checks.filter_map(Check::complaint).collect();
    let refuted = hmm_selftests::refuted(&rows);
    complaints
        .extend(refuted.iter().map(|row| format!("{} does not pass with test_hmm", row.name)));
    let new = hmm_selftests::overlooked(&rows, &farfault.kernel_release()?);
    complaints.extend(
        new.iter().map(|name| format!("{name} is new, and not in KNOWN of hmm_selftests.rs")),
    );
    Ok((rows, complaints))
}

fn report(rows: &[Row], complaints: &[String]) -> ExitCode {
    println!("{:<28} {:<10} {:<10} remark", "case", "farfault", "test_hmm");
    for row in rows {
        let (ours, mut why) = words(&row.ours);
        if row.new {
            why = "new";
        }
        let line = format!("{:<28} {ours:<10} {:<10} {why}", row.name, words(&row.control).0);
        println!("{}", line.trim_end());
        // Of a case that is excused, what it ended with is no news.
        let failed = row.ours == Outcome::Failed;
        for complaint in row.complaints.iter().filter(|_| failed) {
            println!("    line {}: {}", complaint.line, complaint.text);
        }
    }
    complaints.iter().for_each(|complaint| println!("wrong: {complaint}"));
    let count = |wanted: &str| rows.iter().filter(|row| words(&row.ours).0 == wanted).count();
    let (passed, skipped, failed) = (count("passed"), count("skipped"), count("FAILED"));
    println!("hmm-selftests: {passed} passed, {skipped} skipped, {failed} failed");
    if failed == 0 && passed > 0 && complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn words(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Passed => ("passed", ""),
        Outcome::Failed => ("FAILED", ""),
        Outcome::Skipped(why) => ("skipped", why),
    }
}
