// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes a table of the matrix' KTAP: a row for each kind of memory, a column for each
//! change, a sign in each cell.

use crate::ktap::{self, Case, Outcome};
use crate::run::{LOADS_XFS, host_file};
use std::collections::BTreeSet;
use tempfile::NamedTempFile;

/// How a diagnostic begins that says who refused something.
const REFUSED: &str = "refused: ";
/// How one begins that says that the kernel's own bug was met.
const BUG: &str = "bug of the kernel: ";
/// How one begins that says what was not done while commands were under way.
pub const AT_REST: &str = "at rest only: ";
/// How the reason begins why a cell makes no sense.
const SENSELESS: &str = "not applicable: ";

/// What the signs mean.
const LEGEND: &str = "\
ok: it is done, and device and CPU see what they must, at the cost it must have.
no: the kernel refuses it, or the device may not access such memory; nothing else is harmed.
-: it makes no sense. skip: this guest lacks something.";

/// What is above the table in Markdown.
const HEAD: &str = "\
# Every kind of memory, under every change

Made by `scripts/matrix --markdown FILE` in one guest. A row is a kind of memory, a
column what happens to it: once while the device has it mapped and is at rest, when far faults
are counted, and most of them once more while commands are under way. Then the device reads each
page that is looked at over and over; another queue writes to each, a third one adds to a word of
each, and a fourth one walks along links from page to page, but for rows that a write would turn
into another kind of memory (pages of zeroes, of a file mapped privately, merged by KSM,
write-protected by userfaultfd). Each cell is a test of what device and CPU see, who may access it,
how many far faults that takes, and that no write or addition is lost;
`tests/guest/src/bin/matrix` has them. `scripts/matrix --row ROW --column COLUMN` runs one.
";

/// The row whose pages are of 1 GiB.
const GIGANTIC: &str = "hugetlb-1g";

/// The machine for `rows`, with commas between, or for all if there is none; and the disks
/// of its persistent memory.
pub fn machine(rows: &str) -> Result<(Vec<String>, [NamedTempFile; 2]), String> {
    let disks = [host_file()?, host_file()?];
    let size: &[&str] = match rows.is_empty() || rows.split(',').any(|row| row == GIGANTIC) {
        true => &["--memory=8G", "--cmdline-append=hugepagesz=1G hugepages=5"],
        false => &["--memory=2G"],
    };
    let fixed = ["--cpus=2", "--timeout=3600", "--device=vram=32M"].iter().chain(size);
    let mut options: Vec<String> = fixed.map(|option| (*option).to_owned()).collect();
    let some_are = |kind| rows.is_empty() || rows.contains(kind);
    if some_are("dax") {
        let pmem = |disk: &NamedTempFile| format!("--pmem={},size=512M", disk.path().display());
        options.extend(disks.iter().map(pmem));
    }
    if some_are("xfs") {
        options.push(LOADS_XFS.to_owned());
    }
    Ok((options, disks))
}

/// How the reason begins why a cell was tried in vain: not for good, as it depends on what
/// the kernel chose to do.
const IN_VAIN: &str = "not applicable: compaction has moved none";

/// What a cell shows.
fn sign(case: &Case) -> &'static str {
    match &case.outcome {
        Outcome::Failed => "FAIL",
        Outcome::Skipped(why) if why.starts_with(SENSELESS) => "-",
        Outcome::Skipped(_) => "skip",
        Outcome::Passed if case.diagnostics.iter().any(|line| line.starts_with(REFUSED)) => "no",
        Outcome::Passed => "ok",
    }
}

/// All cells that were run.
pub struct Matrix {
    cases: Vec<Case>,
    rows: Vec<String>,
    columns: Vec<String>,
}

impl Matrix {
    /// Reads what the guest's `matrix` printed.
    pub fn read(output: &str) -> Result<Self, String> {
        let cases = ktap::parse(output)?;
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        for (row, column) in cases.iter().filter_map(|case| case.name.split_once('/')) {
            note(&mut rows, row);
            note(&mut columns, column);
        }
        if rows.is_empty() {
            Err("no cell was run".to_owned())
        } else {
            Ok(Self { cases, rows, columns })
        }
    }

    /// As a table for a terminal.
    pub fn text(&self) -> String {
        let line = |name: &str, cells: &[String]| {
            let cells: String = cells.iter().map(|cell| format!("{cell:<5}")).collect();
            format!("{name:<18}{cells}").trim_end().to_owned()
        };
        let mut lines = vec![line("column", &self.numbers())];
        lines.extend(self.rows.iter().map(|row| line(row, &self.signs(row))));
        lines.push(self.below("  "));
        lines.join("\n")
    }

    /// As a page in Markdown.
    pub fn markdown(&self) -> String {
        let line = |name: &str, cells: &[String]| format!("| {name} | {} |", cells.join(" | "));
        let rule = vec!["---".to_owned(); self.columns.len()];
        let mut lines = vec![HEAD.to_owned(), line("", &self.numbers()), line("---", &rule)];
        for row in &self.rows {
            let bold = |sign: String| if sign == "FAIL" { format!("**{sign}**") } else { sign };
            let signs: Vec<_> = self.signs(row).into_iter().map(bold).collect();
            lines.push(line(&format!("`{row}`"), &signs));
        }
        lines.push(self.below("- "));
        lines.join("\n") + "\n"
    }

    /// Where `page`, as [`markdown`](Self::markdown) has made it, says something else of a
    /// cell that was run here, or of what the guest's `list` names.
    pub fn outdated(&self, page: &str, list: &str) -> Vec<String> {
        let mut told = Vec::new();
        let (rows, columns) = (rows_of(page), columns_of(page));
        for (what, title, known) in [
            ("row", "rows:", rows.iter().map(|row| row.0.as_str()).collect::<BTreeSet<_>>()),
            ("column", "columns:", columns.iter().map(String::as_str).collect()),
        ] {
            let there = listed(list, title);
            told.extend(there.symmetric_difference(&known).map(|name| format!("{what} {name}")));
        }
        for case in &self.cases {
            let Some((row, column)) = case.name.split_once('/') else { continue };
            let in_vain =
                matches!(&case.outcome, Outcome::Skipped(why) if why.starts_with(IN_VAIN));
            let place = columns.iter().position(|name| name == column);
            let cells = rows.iter().find(|(name, _)| name == row).map(|(_, cells)| cells);
            let said = place.and_then(|place| cells?.get(place)).map_or("nothing", String::as_str);
            let found = sign(case);
            if said != found && !in_vain {
                told.push(format!("{}: {found}, the page says {said}", case.name));
            }
        }
        told
    }

    /// How many cells there are of each sort, and whether that is as it must be.
    pub fn summary(&self) -> (String, bool) {
        let count = |shown| self.cases.iter().filter(|case| sign(case) == shown).count();
        let (skipped, failed) = (count("skip"), count("FAIL"));
        let told = format!(
            "{} ok, {} refused, {} not applicable, {skipped} skipped, {failed} failed",
            count("ok"),
            count("no"),
            count("-")
        );
        (told, skipped == 0 && failed == 0)
    }

    /// Why each cell failed that did.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.cases.iter().filter(|case| case.outcome == Outcome::Failed);
        failed.map(|case| format!("{}: {}", case.name, case.diagnostics.join("\n    "))).collect()
    }

    fn numbers(&self) -> Vec<String> {
        (1..=self.columns.len()).map(|number| number.to_string()).collect()
    }

    fn signs(&self, row: &str) -> Vec<String> {
        let shown = |column: &String| {
            let name = format!("{row}/{column}");
            let case = self.cases.iter().find(|case| case.name == name);
            case.map_or("FAIL", sign).to_owned()
        };
        self.columns.iter().map(shown).collect()
    }

    /// Names of the columns, what the signs mean, and why some cells are as they are.
    fn below(&self, mark: &str) -> String {
        let names = (1..).zip(&self.columns).map(|(number, name)| format!("{number} {name}"));
        let names = names.collect::<Vec<_>>().join(", ");
        let mut text = format!("\nColumns: {names}.\n\n{LEGEND}\n");
        let parts = [
            ("Why not:", self.reasons()),
            ("Done at rest only:", self.told(AT_REST)),
            ("Bugs met:", self.told(BUG)),
        ];
        for (title, lines) in parts {
            if !lines.is_empty() {
                let lines: String = lines.iter().map(|line| format!("{mark}{line}\n")).collect();
                text.push_str(&format!("\n{title}\n\n{lines}"));
            }
        }
        text
    }

    /// Each reason for which cells were not run, with the columns where that was so.
    fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for case in &self.cases {
            let Outcome::Skipped(why) = &case.outcome else { continue };
            let why = why.strip_prefix(SENSELESS).unwrap_or(why);
            let column = case.name.split_once('/').map_or("", |(_, column)| column);
            match reasons.iter_mut().find(|(reason, _)| *reason == why) {
                Some((_, columns)) => note(columns, column),
                None => reasons.push((why, vec![column.to_owned()])),
            }
        }
        let line = |(why, columns): &(&str, Vec<String>)| format!("{}: {why}", columns.join(", "));
        reasons.iter().map(line).collect()
    }

    /// What cells tell that did well: bugs of the kernel that they have got round, and what
    /// they have not done while commands were under way.
    pub fn told(&self, sort: &str) -> Vec<String> {
        let of = |case: &Case| {
            let told = case.diagnostics.iter().filter_map(|line| line.strip_prefix(sort));
            told.map(|told| format!("{}: {told}", case.name)).collect::<Vec<_>>()
        };
        self.cases.iter().flat_map(of).collect()
    }
}

/// Names below `title`, one a line, as `matrix --list` prints them.
fn listed<'l>(list: &'l str, title: &str) -> BTreeSet<&'l str> {
    let lines = list.lines().skip_while(|line| *line != title).skip(1);
    lines.map_while(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect()
}

/// The names of the rows of a page that [`Matrix::markdown`] has made.
pub fn row_names(page: &str) -> Vec<String> {
    rows_of(page).into_iter().map(|(name, _)| name).collect()
}

/// The rows of a page: name, and signs.
fn rows_of(page: &str) -> Vec<(String, Vec<String>)> {
    let row = |line: &str| {
        let (name, cells) = line.strip_prefix("| `")?.split_once("` |")?;
        let cells = cells
            .trim()
            .trim_end_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('*').to_owned());
        Some((name.to_owned(), cells.collect()))
    };
    page.lines().filter_map(row).collect()
}

/// Its columns, in the order of their numbers.
fn columns_of(page: &str) -> Vec<String> {
    let line = page.lines().find_map(|line| line.strip_prefix("Columns: "));
    let names = line.unwrap_or_default().trim_end_matches('.').split(", ");
    names.filter_map(|name| Some(name.split_once(' ')?.1.to_owned())).collect()
}

/// Adds `name` unless it is there.
fn note(names: &mut Vec<String>, name: &str) {
    if names.iter().all(|one| one != name) {
        names.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::Matrix;

    const OUTPUT: &str = "KTAP version 1\n1..6\n# 3 ms\nok 1 thp/munmap\n\
        # refused: EINVAL\nok 2 thp/free\nok 3 heap/munmap # SKIP not applicable: no file\n\
        # far faults\nnot ok 4 heap/free\nok 5 stack/munmap # SKIP no swap\n\
        # bug of the kernel: 2 children\n# at rest only: it stays whole\nok 6 stack/free\n";

    #[test]
    fn each_sort_of_cell_has_its_sign() {
        let matrix = Matrix::read(OUTPUT).expect("cells");
        let text = matrix.text();
        assert!(text.contains("\nthp               ok   no\n"), "{text}");
        assert!(text.contains("\nheap              -    FAIL\n"), "{text}");
        assert!(text.contains("\nstack             skip ok\n"), "{text}");
        let summary = "2 ok, 1 refused, 1 not applicable, 1 skipped, 1 failed".to_owned();
        assert_eq!(matrix.summary(), (summary, false));
        assert_eq!(matrix.failures(), ["heap/free: far faults"]);
    }

    #[test]
    fn markdown_says_why_cells_were_not_run() {
        let text = Matrix::read(OUTPUT).expect("cells").markdown();
        assert!(text.contains("| `heap` | - | **FAIL** |"), "{text}");
        assert!(text.contains("\n- munmap: no file\n- munmap: no swap\n"), "{text}");
        assert!(text.contains("\n- stack/free: 2 children\n"), "{text}");
        assert!(text.contains("\n- stack/free: it stays whole\n"), "{text}");
        assert!(text.contains("\nColumns: 1 munmap, 2 free.\n"), "{text}");
    }

    #[test]
    fn a_page_that_is_not_current_is_noticed() {
        let matrix = Matrix::read(OUTPUT).expect("cells");
        let list = "rows:\n  thp   2 MiB\n  heap  by brk\n  stack of a thread\n\
            columns:\n  munmap all\n  free  MADV_FREE\n";
        let page = matrix.markdown();
        assert!(matrix.outdated(&page, list).is_empty(), "{:?}", matrix.outdated(&page, list));
        assert_eq!(super::row_names(&page), ["thp", "heap", "stack"]);
        let other = page.replace("| `heap` | - |", "| `heap` | ok |");
        assert_eq!(matrix.outdated(&other, list), ["heap/munmap: -, the page says ok"]);
        let more = list.replace("columns:", "  new   row\ncolumns:");
        assert_eq!(matrix.outdated(&page, &more), ["row new"]);
    }

    #[test]
    fn a_cell_that_was_never_reported_has_failed() {
        let cut = OUTPUT.replace("1..6", "1..7");
        let (told, fine) = Matrix::read(&cut).expect("cells").summary();
        assert!(told.ends_with("2 failed") && !fine, "{told}");
        assert!(Matrix::read("KTAP version 1\n1..0\n").is_err());
    }
}
