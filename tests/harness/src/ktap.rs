// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads KTAP, the kernel's test output (Documentation/dev-tools/ktap.rst).
//!
//! Only what guest programs here print is understood: a plan, result lines at
//! the top level, `# SKIP`, and diagnostics. A test that was planned and never reported
//! is a failure, so a program that dies half-way cannot pass; so is one that is reported
//! twice, out of order, or beyond the plan.

use std::collections::BTreeSet;

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `ok`
    Passed,
    /// `not ok`, or never reported.
    Failed,
    /// `ok … # SKIP reason`
    Skipped(String),
}

/// One test of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What the program calls it.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The diagnostic lines before its result.
    pub diagnostics: Vec<String>,
}

impl Case {
    /// How long it took, if its diagnostics say so, as those of our programs do: `N ms`.
    pub fn seconds(&self) -> Option<f64> {
        let time = self.diagnostics.iter().rev().find_map(|line| line.strip_suffix(" ms"));
        Some(time?.parse::<f64>().ok()? / 1000.0)
    }

    fn fails(&mut self, why: String) {
        self.outcome = Outcome::Failed;
        self.diagnostics.push(why);
    }
}

/// Reads the tests that `output` reports.
pub fn parse(output: &str) -> Result<Vec<Case>, String> {
    let (mut planned, mut names) = (None, BTreeSet::new());
    let mut cases = Vec::new();
    let mut diagnostics = Vec::new();
    for line in output.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            diagnostics.push(text.to_owned());
        } else if let Some(count) = line.strip_prefix("1..") {
            planned = count.trim().parse::<usize>().ok();
        } else if let Some((passed, rest)) = result_line(line) {
            let (number, mut case) = case(passed, rest, std::mem::take(&mut diagnostics));
            let place = cases.len() + 1;
            if number != Some(place) {
                case.fails(format!("the line '{line}' stands at place {place}"));
            }
            if !names.insert(case.name.clone()) {
                case.fails("it is reported twice".to_owned());
            }
            cases.push(case);
        }
    }
    let planned = planned.ok_or("no KTAP plan (a line `1..N`) in the output")?;
    if planned == 0 {
        return Err("the KTAP plan has no test".to_owned());
    }
    for case in cases.iter_mut().skip(planned) {
        case.fails(format!("only {planned} tests were planned"));
    }
    for number in cases.len() + 1..=planned {
        cases.push(Case {
            name: format!("test {number} of {planned}"),
            outcome: Outcome::Failed,
            diagnostics: std::iter::once("never reported; the program ended early".to_owned())
                .chain(diagnostics.drain(..))
                .collect(),
        });
    }
    Ok(cases)
}

fn result_line(line: &str) -> Option<(bool, &str)> {
    line.strip_prefix("ok ")
        .map(|rest| (true, rest))
        .or_else(|| line.strip_prefix("not ok ").map(|rest| (false, rest)))
}

/// The number of a result, if it has one, and what else it says.
fn case(passed: bool, rest: &str, diagnostics: Vec<String>) -> (Option<usize>, Case) {
    let (number_and_name, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
    let (number, name) = number_and_name.split_once(' ').unwrap_or((number_and_name, ""));
    let outcome = match (passed, directive.strip_prefix("SKIP")) {
        (true, Some(reason)) => Outcome::Skipped(reason.trim().to_owned()),
        (true, None) => Outcome::Passed,
        (false, _) => Outcome::Failed,
    };
    let name = name.trim_start_matches("- ").trim().to_owned();
    (number.parse().ok(), Case { name, outcome, diagnostics })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_carry_their_diagnostics() {
        let cases =
            parse("KTAP version 1\n1..3\nok 1 a b\n# why\nnot ok 2 c\nok 3 d # SKIP no x\n");
        let cases = cases.expect("a plan");
        assert_eq!(cases[0].name, "a b");
        assert_eq!(cases[0].outcome, Outcome::Passed);
        assert_eq!(cases[1].outcome, Outcome::Failed);
        assert_eq!(cases[1].diagnostics, ["why"]);
        assert_eq!(cases[2].outcome, Outcome::Skipped("no x".to_owned()));
    }

    #[test]
    fn a_result_has_the_time_that_its_program_has_taken() {
        let cases = parse("1..2\n# 1250 ms\n# why\nnot ok 1 a\nok 2 b\n").expect("a plan");
        assert_eq!(cases[0].seconds(), Some(1.25));
        assert_eq!(cases[1].seconds(), None);
    }

    #[test]
    fn a_program_that_dies_fails_what_it_did_not_report() {
        let cases = parse("1..2\nok 1 a\n").expect("a plan");
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[1].outcome, Outcome::Failed);
    }

    #[test]
    fn output_without_a_plan_is_refused() {
        assert!(parse("ok 1 a\n").is_err());
        assert!(parse("1..0\n").is_err());
    }

    #[test]
    fn what_is_not_as_planned_fails() {
        let failed = |output: &str| -> Vec<bool> {
            let cases = parse(output).expect("a plan");
            cases.iter().map(|case| case.outcome == Outcome::Failed).collect()
        };
        assert_eq!(failed("1..2\nok 1 a\nok 2 b\n"), [false, false]);
        assert_eq!(failed("1..2\nok 1 a\nok 2 a\n"), [false, true], "reported twice");
        assert_eq!(failed("1..1\nok 1 a\nok 2 b\n"), [false, true], "surplus");
        assert_eq!(failed("1..2\nok 1 a\nok 1 b\n"), [false, true], "out of order");
        assert_eq!(failed("1..1\nok a\n"), [true], "without a number");
    }
}
