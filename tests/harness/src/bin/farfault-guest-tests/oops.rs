// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A kernel's log is shown with file and line behind its functions.

use farfault_tests::check::{Check, ensure, exit_code};
use farfault_tests::run::{Farfault, USUAL};
use farfault_tests::unit::Unit;

/// The stack of a service that is held up.
const STACK: &str = "\
cd /sys/kernel/debug/farfault/*/
echo served >stall
saxpy 1000 &
until grep -q 'stalled 1' counters; do sleep 0.1; done
# It has counted a moment before it sleeps.
for try in $(seq 50); do
	echo w >/proc/sysrq-trigger
	dmesg | grep ' ff_stall+0x' && break
	sleep 0.1
done
echo none >stall
wait";
const GUEST_DIED: i32 = 120;

pub fn units() -> Vec<Unit> {
    vec![Unit::new("oops", run)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    Ok(vec![
        Check::new("the driver's functions have file and line", driver(farfault)),
        Check::new("a panic's have them, or a reason", panic(farfault)),
    ])
}

fn driver(farfault: &Farfault) -> Result<(), String> {
    let finished = farfault.script(&USUAL, STACK)?;
    exit_code(&finished, 0)?;
    let mut lines = finished.stdout.lines().filter(|line| line.contains(" ff_stall+0x"));
    let decoded = lines.any(|line| line.contains("[farfault] (testing/stall.c:"));
    ensure(decoded, || finished.stdout.clone())
}

/// Debian's kernels come without debugging information, and one's own may have it.
fn panic(farfault: &Farfault) -> Result<(), String> {
    let finished = farfault.script(&USUAL, "echo c >/proc/sysrq-trigger")?;
    exit_code(&finished, GUEST_DIED)?;
    let reason = "farfault: no file and line for functions of the kernel (";
    let said = |words: &str| finished.stderr.contains(words);
    let decoded = said(reason) != said("(drivers/tty/sysrq.c:");
    let last = finished.stderr.trim_end().ends_with("farfault: the guest panicked");
    ensure(decoded && last, || finished.stderr.clone())
}
