// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the matrix in a guest, prints it as a table, and judges the run. See
//! scripts/matrix.

use farfault_tests::check::{Check, LEAKS, LOG, ensure, found, good_end};
use farfault_tests::matrix::{self, Matrix};
use farfault_tests::run::{Farfault, Finished, Step, script_of};
use std::process::ExitCode;

/// Exit code for a wrong command line; the guest's programs have one of their own.
const BAD_USAGE: u8 = 64;
const BAD_USAGE_IN_GUEST: i32 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (mut markdown, mut ktap, mut cells) = (None, None, String::new());
    let mut rows = "";
    for pair in words.chunks(2) {
        match pair {
            [option, file] if option == "--markdown" => markdown = Some(file),
            [option, file] if option == "--ktap" => ktap = Some(file),
            [option, name] if option == "--row" || option == "--column" => {
                cells.push_str(&format!(" {option} {name}"));
                rows = if option == "--row" { name } else { rows };
            }
            _ => {
                eprintln!("matrix: '{}': see --help", pair.join(" "));
                return ExitCode::from(BAD_USAGE);
            }
        }
    }
    match run(&cells, rows, ktap).and_then(|finished| report(&finished, markdown)) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("matrix: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What the guest printed is left in the file `ktap` as well.
fn run(cells: &str, rows: &str, ktap: Option<&String>) -> Result<Finished, String> {
    let matrix = format!("matrix{cells}");
    let steps = [("matrix", matrix.as_str()), LEAKS, LOG];
    let steps = steps.map(|(name, command)| Step::new(name, command));
    let (options, _disks) = matrix::machine(rows)?;
    let finished = Farfault::from_environment()?.script(&options, &script_of(&steps, ""))?;
    if let Some(file) = ktap {
        std::fs::write(file, &finished.stdout).map_err(|error| format!("{file}: {error}"))?;
    }
    match finished.code {
        Some(0) => Ok(finished),
        code => Err(format!("the guest ended with {code:?}:\n{}", finished.stderr)),
    }
}

/// Prints the table; gives whether nothing has failed.
fn report(finished: &Finished, markdown: Option<&String>) -> Result<ExitCode, String> {
    let cells = found(finished, "matrix")?;
    if cells.code == Some(BAD_USAGE_IN_GUEST) {
        eprint!("{}", cells.output);
        return Ok(ExitCode::from(BAD_USAGE));
    }
    let matrix = Matrix::read(&cells.output)?;
    println!("{}", matrix.text());
    let (summary, mut passed) = matrix.summary();
    if let Some(file) = markdown {
        let page = format!("{}\nmatrix: {summary}\n", matrix.markdown());
        std::fs::write(file, page).map_err(|error| format!("{file}: {error}"))?;
    }
    let code =
        ensure(matches!(cells.code, Some(0 | 1)), || format!("{:?}, not 0 or 1", cells.code));
    let code = Check::new("exit code of the guest's matrix", code);
    let others = good_end(finished).into_iter().chain([code]).filter_map(Check::complaint);
    for failure in matrix.failures().into_iter().chain(others) {
        passed = false;
        println!("FAILED {failure}");
    }
    println!("matrix: {summary}");
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
