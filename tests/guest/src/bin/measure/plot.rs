// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A plot in text: both axes logarithmic, so that a slope is a power.

use std::fmt::{Display, Formatter, Result};

/// So many columns for a factor of two, and rows.
const ACROSS: f64 = 5.0;
const UP: f64 = 2.0;
/// How wide the numbers beside the axis are.
const MARGIN: usize = 6;

/// Points that are told apart by a letter.
pub struct Plot {
    /// What is on the axis that goes across, and on that which goes up.
    pub across: &'static str,
    pub up: &'static str,
    /// Where the axis across has a number.
    pub ticks: Vec<u32>,
    /// A letter, what it stands for, and a value for each tick, at least 1.
    pub series: Vec<(char, &'static str, Vec<f64>)>,
}

impl Plot {
    fn place(&self, tick: u32) -> usize {
        (f64::from(tick).log2() * ACROSS).round() as usize
    }

    /// Rows of characters, the lowest first.
    fn points(&self) -> Vec<Vec<char>> {
        let height = |value: f64| (value.max(1.0).log2() * UP).round() as usize;
        let values = self.series.iter().flat_map(|(_, _, values)| values);
        let rows = values.map(|&value| height(value)).max().unwrap_or(0) + 1;
        let columns = self.ticks.iter().map(|&tick| self.place(tick)).max().unwrap_or(0) + 1;
        let mut points = vec![vec![' '; columns]; rows];
        for (letter, _, values) in &self.series {
            for (&tick, &value) in self.ticks.iter().zip(values) {
                let point = &mut points[height(value)][self.place(tick)];
                *point = if *point == ' ' { *letter } else { '*' };
            }
        }
        points
    }
}

impl Display for Plot {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "```text\n{}", self.up)?;
        for (row, points) in self.points().iter().enumerate().rev() {
            let number = match row % UP as usize {
                0 => (1_u64 << (row / UP as usize)).to_string(),
                _ => String::new(),
            };
            let points: String = points.iter().collect();
            writeln!(f, "{}", format!("{number:>MARGIN$} | {points}").trim_end())?;
        }
        let mut numbers = String::new();
        for &tick in &self.ticks {
            let place = self.place(tick);
            numbers = format!("{numbers:<place$}{tick}");
        }
        writeln!(f, "{:MARGIN$} +-{}", "", "-".repeat(self.points()[0].len()))?;
        writeln!(f, "{:MARGIN$}   {numbers}  {}", "", self.across)?;
        for (letter, what, _) in &self.series {
            writeln!(f, "{letter}: {what}")?;
        }
        writeln!(f, "*: both\n```")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_where_their_values_are() {
        let plot = Plot {
            across: "pages",
            up: "cost",
            ticks: vec![1, 4],
            series: vec![('a', "one", vec![4.0, 1.0]), ('b', "two", vec![1.4, 1.0])],
        };
        let expected = "```text\ncost\n     4 | a\n       |\n     2 |\n       | b\n     1 |           *\n       \
                        +------------\n         1         4  pages\na: one\nb: two\n*: both\n```\n";
        assert_eq!(plot.to_string(), expected);
    }
}
