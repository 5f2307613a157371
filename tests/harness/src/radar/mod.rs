// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One suite on several kernels: a table of tests by kernel that shows where a result or
//! a count changes first.

mod results;

pub use results::{Kernel, Outcome, outcomes};

use crate::table::{Row, aligned};
use std::collections::{BTreeMap, BTreeSet};

/// What a cell shows of a kernel that has no such test.
const NO_SUCH_TEST: &str = "none";

const LEGEND: &str = "\
*: not as on the kernel before. skip: not run. none: there is no such test. -: not tried.";

/// The kernels, in the order in which they are compared.
#[derive(Debug)]
pub struct Radar {
    kernels: Vec<Kernel>,
}

/// A test that has not ended as on the kernel before.
struct Change<'r> {
    kernel: &'r str,
    test: &'r str,
    before: Option<&'r Outcome>,
    now: Option<&'r Outcome>,
}

impl Change<'_> {
    fn is_worse(&self) -> bool {
        let failed = |outcome| matches!(outcome, Some(&Outcome::Failed(_)));
        failed(self.now) && !failed(self.before)
    }

    fn told(&self) -> String {
        let Self { kernel, test, .. } = self;
        let told = format!("{kernel}: {test}: {} -> {}", word(self.before), word(self.now));
        match self.now.and_then(Outcome::why) {
            Some(why) => format!("{told}: {why}"),
            None => told,
        }
    }
}

impl Radar {
    /// Of these kernels.
    pub fn new(kernels: Vec<Kernel>) -> Self {
        Self { kernels }
    }

    /// Whether every kernel could be tried.
    pub fn is_complete(&self) -> bool {
        self.kernels.iter().all(|kernel| kernel.found.is_ok())
    }

    /// Whether a test fails on a kernel that has not failed on the one before.
    pub fn is_worse(&self) -> bool {
        self.changes().iter().any(Change::is_worse)
    }

    /// As text for a terminal: counts, and the tests that are not the same everywhere, or `all`
    /// of them; then which kernels these are, what has changed, and with `all` why tests were skipped.
    pub fn text(&self, all: bool) -> String {
        let names = self.kernels.iter().map(|kernel| kernel.name.clone());
        let mut lines = vec![std::iter::once("test".to_owned()).chain(names).collect()];
        let counts = self.scenarios().into_iter().map(|name| self.row(name, |f| counts(f, name)));
        lines.extend(counts.map(|row| row.shown()));
        let tests =
            self.tests().into_iter().map(|name| self.row(name, |found| outcome(found, name)));
        lines.extend(tests.filter(|row| all || row.has_changed()).map(|row| row.shown()));
        let kernels = self.kernels.iter().map(Kernel::told);
        let changes = self.changes().iter().map(Change::told).collect::<Vec<_>>();
        let skipped = if all { section("Skipped", self.skipped()) } else { String::new() };
        format!("{}\n{LEGEND}\n", aligned(&lines))
            + &section("Kernels", kernels)
            + &section("Changes", changes)
            + &skipped
    }

    /// Tests that were skipped, each with the reason and the kernels.
    fn skipped(&self) -> Vec<String> {
        let mut all = BTreeMap::<_, Vec<&str>>::new();
        for kernel in &self.kernels {
            for (test, outcome) in kernel.found.iter().flatten() {
                if let Outcome::Skipped(why) = outcome {
                    all.entry((test, why)).or_default().push(&kernel.name);
                }
            }
        }
        let line = |((test, why), kernels): ((_, _), Vec<_>)| {
            format!("{test}: {why} ({})", kernels.join(" "))
        };
        all.into_iter().map(line).collect()
    }

    fn row(&self, name: &str, cell: impl Fn(&BTreeMap<String, Outcome>) -> String) -> Row {
        let found = self.kernels.iter().map(|kernel| kernel.found.as_ref().ok());
        Row { name: name.to_owned(), cells: found.map(|found| found.map(&cell)).collect() }
    }

    fn tests(&self) -> BTreeSet<&str> {
        let found = self.kernels.iter().filter_map(|kernel| kernel.found.as_ref().ok());
        found.flat_map(|found| found.keys().map(String::as_str)).collect()
    }

    fn scenarios(&self) -> BTreeSet<&str> {
        self.tests().into_iter().map(scenario).collect()
    }

    /// Kernel by kernel, beside the last one before that could be tried.
    fn changes(&self) -> Vec<Change<'_>> {
        let (tests, mut changes, mut last) = (self.tests(), Vec::new(), None);
        for kernel in &self.kernels {
            let Ok(found) = &kernel.found else { continue };
            if let Some(before) = last.replace(found) {
                let change = |test| Change {
                    kernel: &kernel.name,
                    test,
                    before: before.get(test),
                    now: found.get(test),
                };
                let all = tests.iter().copied().map(change);
                changes.extend(all.filter(|change| word(change.before) != word(change.now)));
            }
        }
        changes
    }
}

/// A test's name begins with its scenario's.
fn scenario(test: &str) -> &str {
    test.split_once("::").map_or(test, |(scenario, _)| scenario)
}

fn word(outcome: Option<&Outcome>) -> &'static str {
    outcome.map_or(NO_SUCH_TEST, Outcome::word)
}

fn outcome(found: &BTreeMap<String, Outcome>, test: &str) -> String {
    word(found.get(test)).to_owned()
}

/// How many tests of a scenario ended in each way.
fn counts(found: &BTreeMap<String, Outcome>, name: &str) -> String {
    let tests = found.iter().filter(|(test, _)| scenario(test) == name);
    let mut counts = BTreeMap::new();
    tests.for_each(|(_, outcome)| *counts.entry(outcome.word()).or_insert(0) += 1);
    let told = counts.into_iter().rev().map(|(word, count)| format!("{count} {word}"));
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() { NO_SUCH_TEST.to_owned() } else { told }
}

/// Lines under a title.
fn section(title: &str, lines: impl IntoIterator<Item = String>) -> String {
    let lines: String = lines.into_iter().map(|line| format!("  {line}\n")).collect();
    if lines.is_empty() { format!("\n{title}: none\n") } else { format!("\n{title}:\n{lines}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str, tests: &[(&str, Outcome)]) -> Kernel {
        let found = tests.iter().map(|(name, outcome)| ((*name).to_owned(), outcome.clone()));
        Kernel { name: name.to_owned(), release: format!("{name}.0"), found: Ok(found.collect()) }
    }

    fn not_tried(name: &str, why: &str) -> Kernel {
        Kernel { name: name.to_owned(), release: String::new(), found: Err(why.to_owned()) }
    }

    fn failed(why: &str) -> Outcome {
        Outcome::Failed(why.to_owned())
    }

    use Outcome::Passed;

    #[test]
    fn a_change_is_marked_where_it_comes_first() {
        let radar = Radar::new(vec![
            kernel("7.1", &[("m::a", Passed), ("m::b", Passed)]),
            not_tried("7.2", "the archive has it no more"),
            kernel("7.3", &[("m::a", failed("stale")), ("m::b", Passed)]),
            kernel("7.4", &[("m::a", failed("stale")), ("m::b", Passed)]),
        ]);
        let text = radar.text(false);
        assert!(text.contains("\nm     2 ok  -    1 ok, 1 FAIL*  1 ok, 1 FAIL\n"), "{text}");
        assert!(text.contains("\nm::a  ok    -    FAIL*          FAIL\n"), "{text}");
        assert!(!text.contains("m::b"), "{text}");
        assert!(text.contains("\n  7.2: not tried: the archive has it no more\n"), "{text}");
        assert!(text.contains("\n  7.1: Linux 7.1.0\n"), "{text}");
        assert!(text.ends_with("\nChanges:\n  7.3: m::a: ok -> FAIL: stale\n"), "{text}");
        assert!(radar.text(true).contains("\nm::b  ok    -    ok"), "{}", radar.text(true));
    }

    #[test]
    fn what_is_new_or_gone_is_a_change() {
        let skipped = Outcome::Skipped("needs it".to_owned());
        let radar = Radar::new(vec![
            kernel("7.1", &[("m::a", Passed), ("n::c", Passed)]),
            kernel("7.2", &[("m::b", skipped), ("n::c", Passed)]),
        ]);
        let text = radar.text(false);
        assert!(text.contains("\n  7.2: m::a: ok -> none\n"), "{text}");
        assert!(text.contains("\n  7.2: m::b: none -> skip: needs it\n"), "{text}");
        assert!(text.contains("\nm     1 ok  1 skip*\n"), "{text}");
        assert!(radar.text(true).ends_with("\nSkipped:\n  m::b: needs it (7.2)\n"), "{text}");
        assert!(!radar.is_worse());
    }

    #[test]
    fn worse_is_what_fails_and_has_not_failed_before() {
        let is_worse = |before: &[(&str, Outcome)], now: &[(&str, Outcome)]| {
            Radar::new(vec![kernel("base", before), kernel("tree", now)]).is_worse()
        };
        let bad = [("m::a", failed("x"))];
        assert!(is_worse(&[("m::a", Passed)], &bad));
        assert!(is_worse(&[("m::b", Passed)], &bad));
        assert!(!is_worse(&bad, &[("m::a", failed("y"))]));
        assert!(!is_worse(&bad, &[("m::a", Passed)]));
        assert!(!is_worse(&[("m::a", Passed)], &[("m::a", Passed)]));
    }

    #[test]
    fn without_a_kernel_it_is_not_complete() {
        let one = || kernel("7.1", &[("m::a", Passed)]);
        assert!(Radar::new(vec![one()]).is_complete());
        assert!(!Radar::new(vec![one(), not_tried("7.2", "why")]).is_complete());
    }
}
