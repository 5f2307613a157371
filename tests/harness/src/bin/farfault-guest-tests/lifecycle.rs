// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One boot in which the driver is unbound, the device reset, lost and suspended, and all that
//! one user may have is taken. Hibernation writes to persistent memory as swap.

use farfault_tests::check::{Check, LEAKS, LOG, clean_log, exit_code, ktap, says, succeeded};
use farfault_tests::run::{Farfault, Step, host_file, script_of};
use farfault_tests::unit::Unit;

const STEPS: [(&str, &str); 4] =
    [("swap", "mkswap /dev/pmem0 && swapon /dev/pmem0"), ("lifecycle", "lifecycle"), LEAKS, LOG];

/// What the driver says of a device that was taken off the bus.
const LOST: &str = "commands are not carried out";

pub fn units() -> Vec<Unit> {
    vec![Unit::new("lifecycle", run)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let swap = host_file()?;
    let pmem = format!("--pmem={},size=512M", swap.path().display());
    let steps = STEPS.map(|(name, command)| Step::new(name, command));
    let options = ["--cpus=2", "--memory=512M", "--timeout=500", &pmem];
    let finished = farfault.script(&options, &script_of(&steps, ""))?;
    let mut checks = vec![Check::new("swap", succeeded(&finished, "swap"))];
    checks.extend(ktap(&finished, "lifecycle"));
    checks.push(Check::new("nothing is left", succeeded(&finished, LEAKS.0)));
    checks.push(Check::new("log is clean", clean_log(&finished, "log")));
    checks.push(Check::new("the loss is in the log", says(&finished, "log", LOST)));
    checks.push(Check::new("exit code", exit_code(&finished, 0)));
    Ok(checks)
}
