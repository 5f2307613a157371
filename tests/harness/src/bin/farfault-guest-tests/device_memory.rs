// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's own memory: pages go there and come back, whatever happens meanwhile.

use farfault_tests::check::{Check, LEAKS, LOG, each, good_end_but, ktap};
use farfault_tests::run::{Farfault, Step, USUAL, script_of};
use farfault_tests::unit::Unit;

const PROGRAM: &str = "device-memory";

/// Takes a bit of where a page is in device memory for the permission to write: see
/// guest-driver/kernel-bugs.md.
const SHARED_BUG: &str = "remove_migration_pmd";

/// Little, so that it is soon used up.
const DEVICE: &str = "--device=vram=32M";

/// All goes there that the device uses, unless advised otherwise.
const PREFERRED: [(&str, &str); 6] = [
    ("load", "unload && insmod /lib/modules/farfault.ko prefer_device=1"),
    ("advice", "device-memory what_nobody_advises_on what_goes_to_and_fro_rests"),
    ("saxpy", "saxpy 1000000"),
    ("stress", "stress --processes 2 --queues 2 --commands 30"),
    LEAKS,
    LOG,
];

pub fn units() -> Vec<Unit> {
    vec![
        Unit::new(PROGRAM, run).of_content(),
        Unit::new("device-memory::preferred", preferred).of_content(),
    ]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = [(PROGRAM, PROGRAM), LEAKS, LOG].map(|(name, command)| Step::apart(name, command));
    let finished = farfault.script(&[&USUAL, &[DEVICE][..]].concat(), &script_of(&steps, ""))?;
    let mut checks = ktap(&finished, PROGRAM);
    checks.extend(good_end_but(&finished, Some(SHARED_BUG)));
    Ok(checks)
}

fn preferred(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = PREFERRED.map(|(name, command)| Step::new(name, command));
    let finished = farfault.script(&[&USUAL, &[DEVICE][..]].concat(), &script_of(&steps, ""))?;
    let mut checks = each(&finished, ["load", "saxpy", "stress"]);
    checks.extend(ktap(&finished, "advice"));
    checks.extend(good_end_but(&finished, Some(SHARED_BUG)));
    Ok(checks)
}
