// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `leaks`: prints the driver's counters, and fails if something is still there that is
//! given back when the last file is closed.

use farfault_guest_programs::counters::{self, GAUGES};
use farfault_guest_programs::program::FAILED;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A context ends a moment after its file is closed; what stays is told below.
    let _ = counters::await_gauges([0; GAUGES.len()]);
    let counters = match counters::read() {
        Ok(counters) => counters,
        Err(why) => {
            eprintln!("leaks: {why}");
            return ExitCode::from(FAILED);
        }
    };
    counters.iter().for_each(|(name, value)| println!("{name} {value}"));
    let left: Vec<_> = GAUGES.iter().filter(|name| counters.get(**name) != Some(&0)).collect();
    if left.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("leaks: not 0, or not there: {left:?}");
    ExitCode::from(FAILED)
}
