// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A table in Markdown.

use crate::plot::Plot;
use std::fmt::{Display, Formatter, Result};

/// A head, and rows of as many cells.
pub struct Table {
    rows: Vec<Vec<String>>,
    /// What stands below them.
    plot: Option<Plot>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()], plot: None }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// With a plot below it.
    pub fn with(self, plot: Plot) -> Self {
        Self { plot: Some(plot), ..self }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (number, row) in self.rows.iter().enumerate() {
            writeln!(f, "| {} |", row.join(" | "))?;
            if number == 0 {
                writeln!(f, "|{}", "---|".repeat(row.len()))?;
            }
        }
        self.plot.iter().try_for_each(|plot| write!(f, "\n{plot}"))
    }
}

/// The shortest of several times: whatever disturbs a run makes it longer.
pub fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(&["a", "b"]);
        table.row(["1".to_owned(), "2".to_owned()]);
        assert_eq!(table.to_string(), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }

    #[test]
    fn the_best_is_the_shortest() {
        assert!((best(&[3.0, 1.0, 2.0]) - 1.0).abs() < f64::EPSILON);
    }
}
