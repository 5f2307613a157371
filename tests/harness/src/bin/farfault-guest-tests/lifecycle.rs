// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The driver is unbound, the device reset and lost, and all that one user may have is taken.
//!
//! And hibernation, to persistent memory as swap. That is not for every hosting: behind it QEMU
//! (11.1) throws away what the guest writes to a virtio port, and so the test's results.

use farfault_tests::check::{Check, LEAKS, LOG, clean_log, exit_code, ktap_but, says, succeeded};
use farfault_tests::run::{Farfault, Finished, Ran, Step, host_file, script_of};
use farfault_tests::unit::Unit;

const SWAP: (&str, &str) = ("swap", "mkswap /dev/pmem0 && swapon /dev/pmem0");

/// Why hibernation is skipped where it is not meant.
const NO_SWAP: &str = "there is no swap";

/// What the driver says of a device that was taken off the bus.
const LOST: &str = "commands are not carried out";

pub fn units() -> Vec<Unit> {
    vec![
        Unit::new("lifecycle", lifecycle).of_content(),
        Unit::new("lifecycle::hibernation", hibernation),
    ]
}

/// Without swap it skips hibernation, and says so.
fn lifecycle(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let finished = run(farfault, &[], &[("lifecycle", "lifecycle"), LEAKS, LOG])?;
    let mut checks = judged(&finished);
    checks.push(Check::new("the loss is in the log", says(&finished, "log", LOST)));
    Ok(checks)
}

fn hibernation(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let swap = host_file()?;
    let pmem = format!("--pmem={},size=512M", swap.path().display());
    let steps = [SWAP, ("lifecycle", "lifecycle hibernated"), LEAKS, LOG];
    let finished = run(farfault, &[&pmem], &steps)?;
    let mut checks = vec![Check::new("swap", succeeded(&finished, "swap"))];
    checks.extend(judged(&finished));
    Ok(checks)
}

fn run(farfault: &Farfault, options: &[&str], steps: &[(&str, &str)]) -> Ran {
    let steps: Vec<Step> = steps.iter().map(|(name, command)| Step::new(*name, *command)).collect();
    let usual = ["--cpus=2", "--memory=512M", "--timeout=500"];
    farfault.script(&[&usual, options].concat(), &script_of(&steps, ""))
}

fn judged(finished: &Finished) -> Vec<Check> {
    let mut checks = ktap_but(finished, "lifecycle", |why| why == NO_SWAP);
    checks.push(Check::new("nothing is left", succeeded(finished, LEAKS.0)));
    checks.push(Check::new("log is clean", clean_log(finished, "log")));
    checks.push(Check::new("exit code", exit_code(finished, 0)));
    checks
}
