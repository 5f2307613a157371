// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What came of a run, in a file: a line of JSON for each unit, written when the unit ends.

use crate::check::{Check, Verdict};
use serde::{Deserialize, Serialize};
use std::io::Write;

/// A unit of the suite that was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitResult {
    /// Its name.
    pub unit: String,
    /// How long it took, the starts of its machines included.
    pub seconds: f64,
    /// What was looked at in it.
    pub tests: Vec<TestResult>,
}

/// One test of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Its name within the unit.
    pub name: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// How long it took, if that is known.
    pub seconds: Option<f64>,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TestOutcome {
    /// As it should.
    Passed,
    /// Otherwise; says what was found.
    Failed(String),
    /// It was not done; says why.
    Skipped(String),
}

impl UnitResult {
    /// Of the checks that the unit `unit` has led to.
    pub fn new(unit: &str, seconds: f64, checks: &[Check]) -> Self {
        Self { unit: unit.to_owned(), seconds, tests: checks.iter().map(TestResult::of).collect() }
    }

    /// Adds its line.
    pub fn append(&self, mut file: impl Write) -> Result<(), String> {
        let line = serde_json::to_string(self).map_err(|error| error.to_string())?;
        writeln!(file, "{line}").map_err(|error| error.to_string())
    }

    /// Those in a file's `text`.
    pub fn read(text: &str) -> Result<Vec<Self>, String> {
        let result =
            |line| serde_json::from_str(line).map_err(|error| format!("{error} in: {line}"));
        text.lines().map(result).collect()
    }
}

impl TestResult {
    fn of(check: &Check) -> Self {
        let outcome = match &check.verdict {
            Verdict::Passed => TestOutcome::Passed,
            Verdict::Failed(why) => TestOutcome::Failed(why.clone()),
            Verdict::Skipped(why) => TestOutcome::Skipped(why.clone()),
        };
        Self { name: check.name.clone(), outcome, seconds: check.seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let checks = [
            Check::new("a", Ok(())),
            Check::new("b", Err("two\nlines".to_owned())),
            Check { seconds: Some(0.5), ..Check::skipped("c", "no disk") },
        ];
        let results = [UnitResult::new("x::y", 2.5, &checks), UnitResult::new("z", 0.0, &[])];
        let mut file = Vec::new();
        results.iter().for_each(|result| result.append(&mut file).unwrap());
        let text = String::from_utf8(file).unwrap();
        assert_eq!(UnitResult::read(&text).unwrap(), results);
        let skipped = &results[0].tests[2];
        assert_eq!(skipped.outcome, TestOutcome::Skipped("no disk".to_owned()));
        assert_eq!(skipped.seconds, Some(0.5));
        assert!(UnitResult::read("{\"unit\":\"x\"").is_err(), "cut off");
    }
}
