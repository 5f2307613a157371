// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's own memory: pages go there and come back, whatever happens meanwhile.

use farfault_tests::check::{Check, LEAKS, LOG, good_end_but, ktap};
use farfault_tests::run::{Farfault, Step, USUAL, script_of};
use farfault_tests::unit::Unit;

const PROGRAM: &str = "device-memory";

/// Takes a bit of where a page is in device memory for the permission to write: see
/// guest-driver/kernel-bugs.md.
const SHARED_BUG: &str = "remove_migration_pmd";

/// Little, so that it is soon used up.
const DEVICE: &str = "--device=vram=32M";

pub fn units() -> Vec<Unit> {
    vec![Unit::new(PROGRAM, run).of_content()]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = [(PROGRAM, PROGRAM), LEAKS, LOG].map(|(name, command)| Step::apart(name, command));
    let finished = farfault.script(&[&USUAL, &[DEVICE][..]].concat(), &script_of(&steps, ""))?;
    let mut checks = ktap(&finished, PROGRAM);
    checks.extend(good_end_but(&finished, Some(SHARED_BUG)));
    Ok(checks)
}
