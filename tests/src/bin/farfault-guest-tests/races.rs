// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One boot in which the device accesses pages while every kind of change happens
//! to them at full speed, each access judged by the oracle of the program `races`.

use crate::check::{Check, clean_log, exit_code, found, gauges, ktap};
use farfault_tests::run::{Farfault, Finished, Step, is_long, script_of};

/// Changes of each kind, where they are not so dear that it is a part of them. More
/// are for KVM itself: nested in emulation, a guest of this load has its CPU go deaf
/// or mad by the emulator's doing once in some ten minutes.
const CHANGES: u64 = 300;
/// The same in a long run.
const CHANGES_LONG: u64 = 100_000;
/// How long a guest may take for so many of each, on the slowest machine.
const SECONDS_FOR_1000: u64 = 900;

pub fn run(farfault: &Farfault) -> Vec<Check> {
    let changes = if is_long() { CHANGES_LONG } else { CHANGES };
    let step =
        |name: &str, command: &str| Step { name: name.to_owned(), command: command.to_owned() };
    let steps = [
        step("races", &format!("races --changes {changes}")),
        step("gauges", "cat /sys/kernel/debug/farfault/*/counters"),
        step("log", "dmesg"),
    ];
    let options = [
        "--cpus=2".to_owned(),
        "--memory=1G".to_owned(),
        format!("--timeout={}", 240 + changes * SECONDS_FOR_1000 / 1000),
    ];
    match farfault.script(&options, &script_of(&steps, "")) {
        Ok(finished) => checks(&finished),
        Err(why) => vec![Check::new("start", Err(why))],
    }
}

fn checks(finished: &Finished) -> Vec<Check> {
    if let Ok(found) = found(finished, "races") {
        for line in found.output.lines().filter(|line| line.contains(" commands, ")) {
            println!("note: races: {}", line.trim_start_matches("# "));
        }
    }
    let mut checks = ktap(finished, "races");
    checks.push(Check::new("exit code", exit_code(finished, 0)));
    checks.push(Check::new("log is clean", clean_log(finished, "log")));
    checks.push(Check::new("gauges are back at zero", gauges(finished)));
    checks
}
