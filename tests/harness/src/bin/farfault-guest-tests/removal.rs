// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The PCI function is removed while programs use the device, and found again by a
//! rescan: who used it is told, nothing is left, and it works as before.

use farfault_tests::check::{Check, LEAKS, LOG, good_end, succeeded};
use farfault_tests::run::{Farfault, Finished, Step, USUAL, script_of};
use farfault_tests::unit::Unit;

/// How often it goes, each time under load of another kind.
const LOADS: [(&str, &str); 3] = [
    ("saxpy", "while saxpy 1000000; do :; done"),
    ("stress", "while stress --processes 2 --queues 2 --commands 5000; do :; done"),
    ("races", "while races --change munmap,dontneed --changes 100000; do :; done"),
];

/// The load ends by itself, with an error, within the time that each has.
const REMOVE: &str = "\
( LOAD ) >/run/load 2>&1 &
load=$!
until grep -q '^queues [1-9]' /sys/kernel/debug/farfault/*/counters; do :; done
function=$(cd /sys/bus/pci/drivers/farfault && echo 0000:*)
echo 1 >/sys/bus/pci/devices/$function/remove || exit 1
test ! -e /dev/farfault0 || { echo 'the node is still there'; exit 1; }
wait $load
cat /run/load
echo 1 >/sys/bus/pci/rescan || exit 1
until test -e /dev/farfault0; do :; done
saxpy 10000";

pub fn units() -> Vec<Unit> {
    vec![Unit::new("removal", run).of_content()]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let mut steps =
        LOADS.map(|(name, load)| Step::apart(name, &REMOVE.replace("LOAD", load))).to_vec();
    steps.extend([LEAKS, LOG].map(|(name, command)| Step::new(name, command)));
    Ok(checks(&farfault.script(&USUAL, &script_of(&steps, ""))?))
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks: Vec<Check> = LOADS
        .iter()
        .map(|(name, _)| Check::new(format!("removed under {name}"), succeeded(finished, name)))
        .collect();
    checks.extend(good_end(finished));
    checks
}
