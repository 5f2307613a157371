// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Results as JUnit XML, which CI systems read.

use crate::results::{TestOutcome, TestResult, UnitResult};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The XML of all that was run: a suite for each unit, whose tests are in the class of its
/// scenario.
pub fn xml(results: &[UnitResult]) -> Result<String, String> {
    let mut report = Report::new("farfault");
    report.add_test_suites(results.iter().map(suite));
    let xml = report.to_string().map_err(|error| error.to_string())?;
    Ok(xml.lines().map(with_skipped).collect())
}

/// How a suite's line begins.
const SUITE: &str = "<testsuite ";

/// The tests of a suite that were skipped are its `disabled` ones to the crate, and to the schema
/// of Jenkins (junit-10.xsd) and those who read by it, its `skipped` ones.
fn with_skipped(line: &str) -> String {
    let is_suite = line.trim_start().starts_with(SUITE);
    let line = if is_suite { line.replace(" disabled=", " skipped=") } else { line.to_owned() };
    line + "\n"
}

fn suite(result: &UnitResult) -> TestSuite {
    let (scenario, part) = result.unit.split_once("::").unwrap_or((&result.unit, ""));
    let mut suite = TestSuite::new(result.unit.as_str());
    suite.set_time(duration(result.seconds));
    suite.add_test_cases(result.tests.iter().map(|test| {
        let name =
            if part.is_empty() { test.name.clone() } else { format!("{part}::{}", test.name) };
        case(scenario, &name, test)
    }));
    suite
}

fn case(scenario: &str, name: &str, test: &TestResult) -> TestCase {
    let mut case = TestCase::new(name, status(&test.outcome));
    case.set_classname(scenario);
    if let Some(seconds) = test.seconds {
        case.set_time(duration(seconds));
    }
    case
}

fn status(outcome: &TestOutcome) -> TestCaseStatus {
    match outcome {
        TestOutcome::Passed => TestCaseStatus::success(),
        TestOutcome::Skipped(why) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why.as_str());
            status
        }
        TestOutcome::Failed(why) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(why.lines().next().unwrap_or_default());
            status.set_description(why.as_str());
            status
        }
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str, outcome: TestOutcome, seconds: Option<f64>) -> TestResult {
        TestResult { name: name.to_owned(), outcome, seconds }
    }

    #[test]
    fn each_test_is_a_case_of_its_scenario() {
        let tests = vec![
            test("munmap", TestOutcome::Passed, Some(0.25)),
            test("free", TestOutcome::Skipped("no <swap>".to_owned()), None),
            test("log", TestOutcome::Failed("BUG: oh\n\x1b[0m & a disabled=0".to_owned()), None),
        ];
        let fmt = vec![test("fmt", TestOutcome::Passed, Some(3.0))];
        let results = [
            UnitResult { unit: "matrix::thp".to_owned(), seconds: 12.0, tests },
            UnitResult { unit: "fmt".to_owned(), seconds: 3.0, tests: fmt },
        ];
        let xml = xml(&results).unwrap();
        for part in [
            r#"<testsuites name="farfault" tests="4" failures="1" errors="0">"#,
            r#"<testsuite name="matrix::thp" tests="3" skipped="1" errors="0" failures="1" time="12.000">"#,
            r#"<testcase name="thp::munmap" classname="matrix" time="0.250">"#,
            r#"<testcase name="fmt" classname="fmt" time="3.000">"#,
            r#"<skipped message="no &lt;swap&gt;"/>"#,
            r#"<failure message="BUG: oh">"#,
        ] {
            assert!(xml.contains(part), "no {part} in {xml}");
        }
        assert!(xml.contains("a disabled=0") && !xml.contains('\x1b'), "{xml}");
    }
}
