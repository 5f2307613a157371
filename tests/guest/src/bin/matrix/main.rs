// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `matrix [--row ROW,…] [--column COLUMN,…] [--list]`: every kind of memory (rows),
//! under everything that can happen to it (columns), while the device uses it.
//! Prints KTAP, a line `ROW/COLUMN` for each cell.
//!
//! A cell makes memory of its row's kind in a process of its own, has the device
//! access it, does what its column says, and compares: content, as CPU and device
//! see it; permission, for an access that cannot be must come back as a refusal
//! with its address, and the queue go on; and the number of far faults, which is
//! known from what the CPU's page table had to lose.

mod calls;
mod cell;
mod column;
mod columns;
mod cpu;
mod device;
mod environment;
mod ksm;
mod load;
mod look;
mod mill;
mod model;
mod rig;
mod row;
mod rows;
mod runner;
mod under_way;
mod walk;

use column::Column;
use environment::Environment;
use farfault_guest_programs::options::Options;
use farfault_guest_programs::program::{BAD_USAGE, FAILED};
use farfault_guest_programs::{Failure, ktap};
use row::Row;
use std::process::ExitCode;

const USAGE: &str = "usage: matrix [--row ROW,…] [--column COLUMN,…] [--list]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Request::read(words) {
        Err(why) => {
            eprintln!("matrix: {why}; see --help");
            ExitCode::from(BAD_USAGE)
        }
        Ok(request) if request.list => {
            list();
            ExitCode::SUCCESS
        }
        Ok(request) => match run(&request) {
            Ok(code) => code,
            Err(why) => {
                eprintln!("matrix: {why}");
                ExitCode::from(FAILED)
            }
        },
    }
}

/// What was asked for.
struct Request {
    rows: Vec<&'static Row>,
    columns: Vec<&'static Column>,
    list: bool,
}

impl Request {
    fn read(words: Vec<String>) -> Result<Self, Failure> {
        let mut options = Options::new(words);
        let list = options.switch("--list");
        let row = options.option("--row", String::new())?;
        let column = options.option("--column", String::new())?;
        options.finish()?;
        let rows = named("row", &row, rows::all(), |one| one.name)?;
        let columns = named("column", &column, columns::all(), |one| one.name)?;
        Ok(Self { rows, columns, list })
    }
}

/// Those of `all` whose names stand in `list`, with commas between; all if it is empty.
fn named<T>(
    what: &str,
    list: &str,
    all: impl Iterator<Item = &'static T>,
    name: impl Fn(&T) -> &str,
) -> Result<Vec<&'static T>, Failure> {
    let all: Vec<_> = all.collect();
    let wanted: Vec<_> = list.split(',').filter(|word| !word.is_empty()).collect();
    match wanted.iter().find(|word| all.iter().all(|one| name(one) != **word)) {
        Some(word) => Err(format!("no {what} is called '{word}', see --list").into()),
        None if wanted.is_empty() => Ok(all),
        None => Ok(all.into_iter().filter(|one| wanted.contains(&name(one))).collect()),
    }
}

fn list() {
    println!("rows:");
    rows::all().for_each(|row| println!("  {:18} {}", row.name, row.about));
    println!("columns:");
    columns::all().for_each(|column| println!("  {:18} {}", column.name, column.about));
}

fn run(request: &Request) -> Result<ExitCode, Failure> {
    let environment = Environment::prepare()?;
    let cells = request.rows.iter().flat_map(|row| request.columns.iter().map(move |c| (row, c)));
    Ok(ktap::run(cells.map(|(row, column)| runner::trial(&environment, row, column)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No matter in which order they stand, one rule at most is for a cell.
    #[test]
    fn rules_are_for_columns_that_exist_and_said_once() {
        for row in rows::all() {
            let named: Vec<_> = row.rules.iter().flat_map(|rule| rule.0.iter().copied()).collect();
            for (place, name) in named.iter().enumerate() {
                assert!(columns::all().any(|column| column.name == *name), "{}: {name}", row.name);
                assert!(!named[..place].contains(name), "{}: {name} twice", row.name);
            }
        }
        for column in columns::all() {
            let kinds: Vec<_> = column.rules.iter().flat_map(|rule| rule.0.iter()).collect();
            for (place, kind) in kinds.iter().enumerate() {
                assert!(!kinds[..place].contains(kind), "{}: {kind:?} twice", column.name);
            }
        }
    }

    #[test]
    fn names_are_not_used_twice() {
        let rows: Vec<_> = rows::all().map(|row| row.name).collect();
        let columns: Vec<_> = columns::all().map(|column| column.name).collect();
        for names in [rows, columns] {
            for (place, name) in names.iter().enumerate() {
                assert!(!names[..place].contains(name), "{name}");
            }
        }
    }

    #[test]
    fn a_cell_is_selected_by_its_names() {
        let read = |line: &str| Request::read(line.split(' ').map(str::to_owned).collect());
        let one = read("--row thp --column munmap").map(|it| (it.rows.len(), it.columns.len()));
        assert_eq!(one.unwrap(), (1, 1));
        let two = read("--row thp,memfd --column munmap").map(|it| it.rows.len());
        assert_eq!(two.unwrap(), 2);
        let told = read("--row none").err().unwrap().to_string();
        assert_eq!(told, "no row is called 'none', see --list");
    }
}
