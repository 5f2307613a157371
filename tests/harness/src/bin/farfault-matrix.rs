// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the matrix in a guest, prints it as a table, and judges the run. See
//! scripts/matrix.

use farfault_tests::kernel_log;
use farfault_tests::matrix::{self, Matrix};
use farfault_tests::run::{Farfault, Section, Step, script_of, section};
use std::process::ExitCode;

/// Exit code for a wrong command line; the guest's programs have one of their own.
const BAD_USAGE: u8 = 64;
const BAD_USAGE_IN_GUEST: i32 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (mut markdown, mut ktap, mut cells) = (None, None, String::new());
    for pair in words.chunks(2) {
        match pair {
            [option, file] if option == "--markdown" => markdown = Some(file),
            [option, file] if option == "--ktap" => ktap = Some(file),
            [option, name] if option == "--row" || option == "--column" => {
                cells.push_str(&format!(" {option} {name}"));
            }
            _ => {
                eprintln!("matrix: '{}': see --help", pair.join(" "));
                return ExitCode::from(BAD_USAGE);
            }
        }
    }
    match run(&cells, ktap).and_then(|told| report(&told, markdown)) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("matrix: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What the guest printed, which is left in the file `ktap` as well.
fn run(cells: &str, ktap: Option<&String>) -> Result<String, String> {
    let matrix = format!("matrix{cells}");
    let steps = [("matrix", matrix.as_str()), ("gauges", "leaks"), ("log", "dmesg")];
    let steps = steps.map(|(name, command)| Step::new(name, command));
    let (options, _disks) = matrix::machine(true)?;
    let finished = Farfault::from_environment()?.script(&options, &script_of(&steps, ""))?;
    if let Some(file) = ktap {
        std::fs::write(file, &finished.stdout).map_err(|error| format!("{file}: {error}"))?;
    }
    match finished.code {
        Some(0) => Ok(finished.stdout),
        code => Err(format!("the guest ended with {code:?}:\n{}", finished.stderr)),
    }
}

/// Prints the table; gives whether nothing has failed.
fn report(told: &str, markdown: Option<&String>) -> Result<ExitCode, String> {
    let cells = step(told, "matrix")?;
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
    for failure in matrix.failures().into_iter().chain(complaints(told, &cells)) {
        passed = false;
        println!("FAILED {failure}");
    }
    println!("matrix: {summary}");
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong beside single cells.
fn complaints(told: &str, cells: &Section) -> Vec<String> {
    let mut found = Vec::new();
    match cells.code {
        Some(0 | 1) => {}
        Some(code) => found.push(format!("the guest's matrix ended with exit code {code}")),
        None => found.push("the guest ended before its matrix".to_owned()),
    }
    match step(told, "gauges") {
        Ok(gauges) if gauges.code == Some(0) => {}
        Ok(gauges) => found.push(gauges.output),
        Err(why) => found.push(why),
    }
    match step(told, "log") {
        Ok(log) if log.output.contains("Linux version") => {
            let lines = kernel_log::complaints(&log.output);
            found.extend(lines.iter().map(|line| format!("the kernel's log says: {line}")));
        }
        Ok(_) => found.push("there is no kernel log".to_owned()),
        Err(why) => found.push(why),
    }
    found
}

fn step(told: &str, name: &str) -> Result<Section, String> {
    section(told, name).ok_or_else(|| format!("the guest ended before its step '{name}'"))
}
