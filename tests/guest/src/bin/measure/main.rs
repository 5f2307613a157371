// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `measure [--mib M] TABLE…`: what the mirror costs and permits, beside pinned
//! memory, as Markdown tables. Counts are exact; what is told of time are ratios
//! of things done in turn in the same guest.

mod buffer;
mod compaction;
mod lengths;
mod oversubscribe;
mod permits;
mod plot;
mod prefetch;
mod sizes;
mod speeds;
mod table;
mod touch;

use farfault_guest_programs::options::{Options, within};
use farfault_guest_programs::program::{BAD_USAGE, FAILED};
use farfault_guest_programs::{Failure, ktap, memory};
use std::process::ExitCode;
use table::Table;

const USAGE: &str = "measure [--mib M] sizes|prefetch|touch|lengths|permits|speeds|oversubscribe... | --test-permits";

/// Makes a table out of buffers of so many bytes.
type Measure = fn(usize) -> Result<Table, Failure>;

const TABLES: [(&str, Measure); 7] = [
    ("sizes", sizes::measure),
    ("prefetch", prefetch::measure),
    ("touch", touch::measure),
    ("lengths", lengths::measure),
    ("permits", permits::measure),
    ("speeds", speeds::measure),
    ("oversubscribe", oversubscribe::measure),
];

fn main() -> ExitCode {
    let mut options = Options::new(std::env::args().skip(1));
    if options.switch("--help") {
        println!("usage: {USAGE}\n\nPrints tables of what memory shared with the device costs.");
        return ExitCode::SUCCESS;
    }
    let permits = options.switch("--test-permits");
    let (bytes, wanted) = match read(&mut options, permits) {
        Ok(read) => read,
        Err(failure) => {
            eprintln!("measure: {failure}; usage: {USAGE}");
            return ExitCode::from(BAD_USAGE);
        }
    };
    if permits {
        return ktap::run(permits::tests(bytes));
    }
    for measure in wanted {
        match memory::allow_huge_pages().map_err(Failure::from).and_then(|()| measure(bytes)) {
            Ok(table) => println!("{table}"),
            Err(failure) => {
                eprintln!("measure: {failure}");
                return ExitCode::from(FAILED);
            }
        }
    }
    ExitCode::SUCCESS
}

fn read(options: &mut Options, permits: bool) -> Result<(usize, Vec<Measure>), Failure> {
    let mib: usize = within("--mib", options.option("--mib", 64)?, 4..=1 << 14)?;
    let mut wanted = Vec::new();
    while let Some(name) = options.operand::<String>("TABLE")? {
        let found = TABLES.iter().find(|(known, _)| *known == name);
        wanted.push(found.ok_or_else(|| format!("there is no table '{name}'"))?.1);
    }
    if wanted.is_empty() != permits {
        return Err("say which table".into());
    }
    Ok((mib << 20, wanted))
}
