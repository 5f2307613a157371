// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `mark NAME`: has the host take a snapshot of all counters under that name.

use farfault_workloads::marks;
use farfault_workloads::program::{BAD_USAGE, FAILED};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name] = words.as_slice() else {
        eprintln!("usage: mark NAME");
        return ExitCode::from(BAD_USAGE);
    };
    match marks::mark(name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mark: {failure}");
            ExitCode::from(FAILED)
        }
    }
}
