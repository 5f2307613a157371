// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One suite on several hostings: a table of tests by hosting, and one of what things cost there.

use crate::radar::{Outcome, outcomes};
use crate::table::{Row, aligned};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How the suite tells what something costs, in its log.
const COST: &str = "note: cost: ";

const LEGEND: &str = "*: not as on the hosting before. none: there is no such test. -: not tried.";

/// A hosting, and what the suite has found there.
#[derive(Debug)]
pub struct Column {
    name: String,
    found: Result<BTreeMap<String, Outcome>, String>,
    /// What has cost what.
    costs: BTreeMap<String, String>,
}

impl Column {
    /// Reads what scripts/hostings leaves in a folder named after the hosting.
    pub fn read(folder: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let log = text("log");
        let last = log.lines().last().unwrap_or("it said nothing").to_owned();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let found = outcomes(&text("junit.xml")).map_err(|_| last);
        Self { name, found, costs: costs(&log) }
    }
}

/// What a log says that things cost.
fn costs(log: &str) -> BTreeMap<String, String> {
    let costs = log.lines().filter_map(|line| line.strip_prefix(COST)?.split_once(": "));
    costs.map(|(name, cost)| (name.to_owned(), cost.to_owned())).collect()
}

/// All of them.
#[derive(Debug)]
pub struct Hostings(Vec<Column>);

impl Hostings {
    /// In this order.
    pub fn new(columns: Vec<Column>) -> Self {
        Self(columns)
    }

    /// Whether each of them could be tried.
    pub fn is_complete(&self) -> bool {
        self.0.iter().all(|column| column.found.is_ok())
    }

    /// Whether no test has failed on any of them.
    pub fn is_well(&self) -> bool {
        let mut outcomes = self.0.iter().flat_map(|column| column.found.iter().flatten());
        outcomes.all(|(_, outcome)| !matches!(outcome, Outcome::Failed(_)))
    }

    /// As text for a terminal: the tests that are not the same everywhere, or `all` of them, how
    /// many there are of each kind, costs, and what is wrong.
    pub fn text(&self, all: bool) -> String {
        let names = self.0.iter().map(|column| column.name.clone());
        let mut lines = vec![std::iter::once("test".to_owned()).chain(names).collect()];
        let word = |column: &Column, test: &str| {
            let found = column.found.as_ref().ok()?;
            Some(found.get(test).map_or("none", Outcome::word).to_owned())
        };
        let tests = self.tests().into_iter().map(|test| self.row(test, |c| word(c, test)));
        lines.extend(tests.filter(|row| all || row.has_changed()).map(|row| row.shown()));
        for kind in ["ok", "skip", "FAIL"] {
            let count = |column: &Column| {
                let outcomes = column.found.as_ref().ok()?.values();
                Some(outcomes.filter(|outcome| outcome.word() == kind).count().to_string())
            };
            lines.push(self.row(kind, count).shown());
        }
        let told: Vec<String> = self.0.iter().flat_map(told).collect();
        let mut text = format!("{}\n{LEGEND}\n\n{}", aligned(&lines), self.costs());
        if !told.is_empty() {
            text += &format!("\n{}\n", told.join("\n"));
        }
        text
    }

    /// What each costs on each hosting.
    fn costs(&self) -> String {
        let names: BTreeSet<&String> =
            self.0.iter().flat_map(|column| column.costs.keys()).collect();
        let line = |name: &String, column: &Column| {
            let cost = column.costs.get(name)?;
            Some(format!("cost of one {name}, {}: {cost}\n", column.name))
        };
        names
            .iter()
            .flat_map(|name| self.0.iter().filter_map(|column| line(name, column)))
            .collect()
    }

    fn row(&self, name: &str, cell: impl Fn(&Column) -> Option<String>) -> Row {
        Row { name: name.to_owned(), cells: self.0.iter().map(cell).collect() }
    }

    fn tests(&self) -> BTreeSet<&str> {
        let found = self.0.iter().filter_map(|column| column.found.as_ref().ok());
        found.flat_map(|found| found.keys().map(String::as_str)).collect()
    }
}

/// What is wrong on a hosting.
fn told(column: &Column) -> Vec<String> {
    let name = &column.name;
    match &column.found {
        Err(why) => vec![format!("{name}: not tried: {why}")],
        Ok(found) => {
            let failed = |(test, outcome): (&String, &Outcome)| match outcome {
                Outcome::Failed(why) => Some(format!("{name}: {test}: {why}")),
                _ => None,
            };
            found.iter().filter_map(failed).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failed, Passed};

    fn column(name: &str, tests: &[(&str, Outcome)], costs: &[(&str, &str)]) -> Column {
        let found = tests.iter().map(|(name, outcome)| ((*name).to_owned(), outcome.clone()));
        let costs = costs.iter().map(|(name, cost)| ((*name).to_owned(), (*cost).to_owned()));
        Column { name: name.to_owned(), found: Ok(found.collect()), costs: costs.collect() }
    }

    #[test]
    fn a_test_that_fails_on_one_hosting_is_shown_with_its_reason() {
        let hostings = Hostings::new(vec![
            column("a", &[("m::x", Passed), ("m::y", Passed)], &[("far fault", "2 waits")]),
            column("b", &[("m::x", Failed("stale".to_owned())), ("m::y", Passed)], &[]),
        ]);
        let text = hostings.text(false);
        assert!(
            text.starts_with("test  a  b\nm::x  ok FAIL*\n") || text.contains("FAIL*"),
            "{text}"
        );
        assert!(!text.contains("m::y"), "{text}");
        assert!(hostings.text(true).contains("m::y"));
        assert!(text.contains("\ncost of one far fault, a: 2 waits\n"), "{text}");
        assert!(text.ends_with("\nb: m::x: stale\n"), "{text}");
        assert!(hostings.is_complete() && !hostings.is_well());
    }

    #[test]
    fn a_hosting_that_cannot_be_tried_is_a_column() {
        let lost = Column { found: Err("no QEMU".to_owned()), ..column("b", &[], &[]) };
        let hostings = Hostings::new(vec![column("a", &[("m::x", Passed)], &[]), lost]);
        assert!(!hostings.is_complete() && hostings.is_well());
        assert!(hostings.text(false).ends_with("\nb: not tried: no QEMU\n"));
    }

    #[test]
    fn costs_are_read_from_a_log() {
        let log = "guest ok\nnote: cost: far fault: 2.00 accesses\nnote: else: 3\n";
        let expected = BTreeMap::from([("far fault".to_owned(), "2.00 accesses".to_owned())]);
        assert_eq!(costs(log), expected);
    }
}
