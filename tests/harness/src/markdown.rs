// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads a table in Markdown, as guest programs print them.

/// A table; its first row is the head.
#[derive(Clone, Debug, Default)]
pub struct Markdown {
    rows: Vec<Vec<String>>,
}

impl Markdown {
    /// The table in `text`, whatever else is there.
    pub fn read(text: &str) -> Self {
        let cells = |line: &str| {
            let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
            Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        };
        let rule = |row: &Vec<String>| row.iter().all(|cell| cell.chars().all(|c| c == '-'));
        Self { rows: text.lines().filter_map(cells).filter(|row| !rule(row)).collect() }
    }

    /// The cell in the row that begins with `keys` and in the column `column`.
    pub fn cell(&self, keys: &[&str], column: &str) -> Result<&str, String> {
        let missing = || format!("the table has no {column} for {}", keys.join(", "));
        let (head, rows) = self.rows.split_first().ok_or_else(missing)?;
        let place = head.iter().position(|name| name == column).ok_or_else(missing)?;
        let row = rows.iter().find(|row| {
            row.len() >= keys.len() && row.iter().zip(keys).all(|(cell, key)| cell == key)
        });
        Ok(row.and_then(|row| row.get(place)).ok_or_else(missing)?)
    }

    /// The same, as a number.
    pub fn number(&self, keys: &[&str], column: &str) -> Result<u64, String> {
        let cell = self.cell(keys, column)?;
        cell.parse().map_err(|_| format!("{column}: '{cell}' is no number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_found_by_row_and_column() {
        let text = "words\n| a | b | c |\n|---|---|---|\n| x | 1 | 7 |\n| x | 2 | all |\n";
        let table = Markdown::read(text);
        assert_eq!(table.cell(&["x", "2"], "c"), Ok("all"));
        assert_eq!(table.number(&["x", "1"], "c"), Ok(7));
        assert!(table.number(&["x", "2"], "c").is_err());
        assert!(table.cell(&["y"], "c").is_err());
        assert!(table.cell(&["x"], "d").is_err());
        assert!(Markdown::default().cell(&[], "c").is_err());
    }
}
