// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which of the kernel's own defects that the tests have met (guest-driver/kernel-bugs.md) the
//! guest's kernel has. A test is skipped if it has: scripts/radar shows since when, and until
//! when. It takes no accelerator.

use farfault_tests::check::{Check, exit_code, ktap_but};
use farfault_tests::hmm_selftests;
use farfault_tests::run::{Farfault, Step, host_file, script_of};
use farfault_tests::unit::Unit;

const NAME: &str = "kernel-bugs";

/// HMM is tried by the kernel's own module, which must be there instead of our driver.
const COMMAND: &str = "unload && insmod /test_hmm.ko && kernel-bugs";

pub fn units() -> Vec<Unit> {
    vec![Unit::new(NAME, run).of_content().only_if_nightly(true)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let disks = [host_file()?, host_file()?];
    let fixed = ["--cpus=2", "--memory=8G", "--timeout=900"].map(str::to_owned);
    let pmem = disks.iter().map(|disk| format!("--pmem={},size=512M", disk.path().display()));
    let mut options: Vec<String> = fixed.into_iter().chain(pmem).collect();
    options.push("--cmdline-append=hugepagesz=1G hugepages=2".to_owned());
    options.push(hmm_selftests::module(&hmm_selftests::from_environment()?));
    let finished = farfault.script(&options, &script_of(&[Step::apart(NAME, COMMAND)], ""))?;
    let found = ktap_but(&finished, NAME, |why| why.starts_with("bug of the kernel: "));
    let mut checks: Vec<Check> = found.into_iter().map(|check| check.within(NAME)).collect();
    checks.push(Check::new("exit code", exit_code(&finished, 0)));
    Ok(checks)
}
