// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Prints what one suite has found on several hostings, each in a folder that scripts/hostings
//! has left, side by side.
//!
//! Ends with 1 if something fails, with 69 if a hosting could not be tried.

use farfault_tests::hostings::{Column, Hostings};
use std::path::Path;
use std::process::ExitCode;

/// Exit code where something is lacking.
const LACKING: u8 = 69;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (options, folders): (Vec<_>, Vec<_>) = words.iter().partition(|word| *word == "--all");
    let columns = folders.into_iter().map(|folder| Column::read(Path::new(folder)));
    let hostings = Hostings::new(columns.collect());
    print!("{}", hostings.text(!options.is_empty()));
    let (verdict, code) = match (hostings.is_well(), hostings.is_complete()) {
        (true, true) => ("ok", ExitCode::SUCCESS),
        (false, _) => ("FAILED", ExitCode::FAILURE),
        (true, false) => ("incomplete", ExitCode::from(LACKING)),
    };
    println!("hostings: {verdict}");
    code
}
