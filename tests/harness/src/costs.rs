// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long tests have taken, in a small file: a line `SECONDS NAME` for each, the name as
//! `scripts/test --list` has it.

use std::collections::BTreeMap;

/// What is written above them.
const HEAD: &str = "\
# Seconds that tests have taken, by which `scripts/test --shard` splits a run.
# Made by `scripts/test --record-costs`.
";

/// Seconds, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs(BTreeMap<String, u64>);

impl Costs {
    /// Reads the file's text.
    pub fn read(text: &str) -> Result<Self, String> {
        let line = |line: &str| {
            let (seconds, name) = line.split_once(' ')?;
            Some((name.to_owned(), seconds.parse().ok()?))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let read = |text: &str| line(text).ok_or_else(|| format!("'{text}' is no cost"));
        Ok(Self(lines.map(read).collect::<Result<_, _>>()?))
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let lines = self.0.iter().map(|(name, seconds)| format!("{seconds} {name}\n"));
        HEAD.to_owned() + &lines.collect::<String>()
    }

    /// Takes what was measured anew; nothing is free.
    pub fn record(&mut self, name: &str, seconds: f64) {
        self.0.insert(name.to_owned(), (seconds.round() as u64).max(1));
    }

    /// What `name` costs; the median if nobody has measured it.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_else(|| self.median())
    }

    /// All that have a cost.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn median(&self) -> u64 {
        let mut all: Vec<u64> = self.0.values().copied().collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut costs = Costs::read("# head\n7 guest matrix::thp\n3 fmt\n").unwrap();
        costs.record("fmt", 0.2);
        costs.record("guest pmem", 61.5);
        assert_eq!(
            (costs.of("fmt"), costs.of("guest pmem"), costs.of("guest matrix::thp")),
            (1, 62, 7)
        );
        assert_eq!(Costs::read(&costs.text()), Ok(costs));
        assert!(Costs::read("many fmt\n").is_err());
    }

    #[test]
    fn what_has_no_cost_has_the_median() {
        assert_eq!(Costs::read("1 a\n50 b\n8 c\n").unwrap().of("d"), 8);
        assert_eq!(Costs::default().of("d"), 1);
    }
}
