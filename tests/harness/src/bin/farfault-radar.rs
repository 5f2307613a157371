// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Prints what one suite has found on several kernels, each in a folder that scripts/radar
//! has left, side by side.
//!
//! Ends with 1 if something fails on a kernel that has not failed on the one before, with 69
//! if a kernel could not be tried.

use farfault_tests::radar::{Kernel, Radar};
use std::path::Path;
use std::process::ExitCode;

/// Exit code where something is lacking.
const LACKING: u8 = 69;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (options, folders): (Vec<_>, Vec<_>) = words.iter().partition(|word| *word == "--all");
    let kernels: Result<Vec<_>, _> =
        folders.into_iter().map(|folder| Kernel::read(Path::new(folder))).collect();
    match kernels.map(Radar::new) {
        Ok(radar) => {
            print!("{}", radar.text(!options.is_empty()));
            verdict(&radar)
        }
        Err(why) => {
            eprintln!("radar: {why}");
            ExitCode::FAILURE
        }
    }
}

fn verdict(radar: &Radar) -> ExitCode {
    match (radar.is_worse(), radar.is_complete()) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(LACKING),
    }
}
