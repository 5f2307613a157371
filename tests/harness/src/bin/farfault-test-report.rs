// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What scripts/test leaves behind of a run: a report in JUnit XML, and how long tests took.

use clap::Parser;
use farfault_tests::costs::Costs;
use farfault_tests::junit;
use farfault_tests::results::{TestOutcome, TestResult, UnitResult};
use farfault_tests::unit::GUEST;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Lines of a log that are shown of a suite that failed.
const LINES: usize = 100;
/// Writes what came of a run.
#[derive(Debug, Parser)]
struct Arguments {
    /// The suites that were run: a line for each, with tabs between its name, the seconds that
    /// it took, its exit code and its log
    #[arg(long, value_name = "FILE")]
    suites: PathBuf,
    /// What the guest's tests have written, if they were run
    #[arg(long, value_name = "FILE")]
    guest: PathBuf,
    /// Write a report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Renew the costs of what was run
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
}

fn main() -> ExitCode {
    match report(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("farfault-test-report: {why}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &Arguments) -> Result<(), String> {
    let units = UnitResult::read(&fs::read_to_string(&arguments.guest).unwrap_or_default())?;
    let suites = suites(&read(&arguments.suites)?)?;
    if let Some(path) = &arguments.costs {
        let mut costs = Costs::read(&read(path)?)?;
        units.iter().for_each(|unit| costs.record(&format!("{GUEST} {}", unit.unit), unit.seconds));
        let others = suites.iter().filter(|suite| suite.name != GUEST);
        others.for_each(|suite| costs.record(&suite.name, suite.seconds));
        write(path, &costs.text())?;
    }
    if let Some(path) = &arguments.junit {
        write(path, &junit::xml(&results(&suites, units))?)?;
    }
    Ok(())
}

/// A suite that was run.
struct Suite {
    name: String,
    seconds: f64,
    code: i32,
    log: PathBuf,
}

fn suites(text: &str) -> Result<Vec<Suite>, String> {
    let suite = |line: &str| {
        let [name, seconds, code, log] = line.split('\t').collect::<Vec<_>>()[..] else {
            return None;
        };
        let (seconds, code) = (seconds.parse().ok()?, code.parse().ok()?);
        Some(Suite { name: name.to_owned(), seconds, code, log: log.into() })
    };
    text.lines().map(|line| suite(line).ok_or_else(|| format!("no suite: '{line}'"))).collect()
}

/// A suite is one test. The guest's is none if its tests tell by themselves how it ended.
fn results(suites: &[Suite], units: Vec<UnitResult>) -> Vec<UnitResult> {
    let failed = |unit: &UnitResult| {
        unit.tests.iter().any(|test| matches!(test.outcome, TestOutcome::Failed(_)))
    };
    let told = units.iter().any(failed);
    let tells_nothing = |suite: &&Suite| suite.name == GUEST && (told || suite.code == 0);
    let suites = suites.iter().filter(|suite| !tells_nothing(suite));
    suites.map(Suite::result).chain(units).collect()
}

impl Suite {
    fn result(&self) -> UnitResult {
        let outcome = match self.code {
            0 => TestOutcome::Passed,
            code => TestOutcome::Failed(format!("exit code {code}\n{}", end_of(&self.log))),
        };
        let (name, seconds) = (self.name.clone(), self.seconds);
        let test = TestResult { name: name.clone(), outcome, seconds: Some(seconds) };
        UnitResult { unit: name, seconds, tests: vec![test] }
    }
}

fn end_of(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(suites: &str, units: Vec<UnitResult>) -> Vec<String> {
        let suites = super::suites(suites).expect("suites");
        results(&suites, units).into_iter().map(|unit| unit.unit).collect()
    }

    fn unit(outcome: TestOutcome) -> Vec<UnitResult> {
        let test = TestResult { name: "x".to_owned(), outcome, seconds: None };
        vec![UnitResult { unit: "pmem".to_owned(), seconds: 1.0, tests: vec![test] }]
    }

    #[test]
    fn the_guest_s_suite_is_a_test_if_nothing_else_tells_how_it_ended() {
        let passed = "fmt\t3\t0\t/log\nguest\t9\t0\t/log\n";
        assert_eq!(names(passed, unit(TestOutcome::Passed)), ["fmt", "pmem"]);
        let failed = passed.replace("9\t0", "9\t101");
        assert_eq!(names(&failed, unit(TestOutcome::Passed)), ["fmt", "guest", "pmem"]);
        assert_eq!(names(&failed, Vec::new()), ["fmt", "guest"]);
        let why = TestOutcome::Failed("why".to_owned());
        assert_eq!(names(&failed, unit(why)), ["fmt", "pmem"]);
    }

    #[test]
    fn a_suite_that_failed_shows_the_end_of_its_log() {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let text: String = (0..300).map(|number| format!("line {number}\n")).collect();
        fs::write(&log, text).expect("written");
        let line = format!("clippy\t3\t101\t{}\n", log.path().display());
        let result = suites(&line).expect("a suite")[0].result();
        let TestOutcome::Failed(why) = &result.tests[0].outcome else { panic!("{result:?}") };
        assert!(why.starts_with("exit code 101\nline 200\n") && why.ends_with("line 299"), "{why}");
    }
}
