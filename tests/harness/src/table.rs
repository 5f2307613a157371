// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cells in columns, and where they change from one column to the next.

/// What a cell shows of a column that could not be had.
const NOT_TRIED: &str = "-";

/// A line of the table: a test, or the counts of a scenario.
pub struct Row {
    /// What it is about.
    pub name: String,
    /// By column; none where it could not be had.
    pub cells: Vec<Option<String>>,
}

impl Row {
    /// Whether a cell is not as the one before.
    pub fn has_changed(&self) -> bool {
        self.shown().iter().any(|cell| cell.ends_with('*'))
    }

    /// All its cells, with a mark where they are not as the last one before that there is.
    pub fn shown(&self) -> Vec<String> {
        let mut last = None;
        let mut cell = |cell: &Option<String>| {
            let Some(text) = cell else { return NOT_TRIED.to_owned() };
            let changed = last.replace(text.clone()).is_some_and(|last| last != *text);
            format!("{text}{}", if changed { "*" } else { "" })
        };
        let mut shown = vec![self.name.clone()];
        shown.extend(self.cells.iter().map(&mut cell));
        shown
    }
}

/// The lines, with each column as wide as its widest cell.
pub fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..).map_while(width).collect();
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(padded).collect()
}
