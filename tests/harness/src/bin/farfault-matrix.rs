// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes a table of a run of the matrix, and judges the run: `farfault-matrix OUTPUT
//! [MARKDOWN]`. OUTPUT has what the guest printed in its steps `matrix`, `gauges` and
//! `log`; the page in Markdown is written to MARKDOWN. See scripts/matrix.

use farfault_tests::matrix::Matrix;
use farfault_tests::run::{Section, section};
use farfault_tests::{gauges, kernel_log};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (output, markdown) = match words.as_slice() {
        [output] => (output, None),
        [output, markdown] => (output, Some(markdown)),
        _ => {
            eprintln!("farfault-matrix: usage: farfault-matrix OUTPUT [MARKDOWN]");
            return ExitCode::from(64);
        }
    };
    match report(output, markdown) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("matrix: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table; gives whether nothing has failed.
fn report(output: &str, markdown: Option<&String>) -> Result<bool, String> {
    let told = std::fs::read(output).map_err(|error| format!("{output}: {error}"))?;
    let told = String::from_utf8_lossy(&told);
    let cells = step(&told, "matrix")?;
    let matrix = Matrix::read(&cells.output)?;
    println!("{}", matrix.text());
    let (summary, mut passed) = matrix.summary();
    if let Some(file) = markdown {
        let page = format!("{}\nmatrix: {summary}\n", matrix.markdown());
        std::fs::write(file, page).map_err(|error| format!("{file}: {error}"))?;
    }
    for failure in matrix.failures().into_iter().chain(complaints(&told, &cells)) {
        passed = false;
        println!("FAILED {failure}");
    }
    println!("matrix: {summary}");
    Ok(passed)
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
        Ok(gauges) => {
            let left = gauges::not_at_zero(&gauges.output);
            found
                .extend(left.iter().map(|gauge| format!("the driver's {gauge} are not back at 0")));
        }
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
