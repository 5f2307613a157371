// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device that needs a page for itself to be atomic: what CPUs and it count together adds up,
//! and a driver that leaves the page to the CPUs is found out.

use farfault_tests::check::{
    Check, LEAKS, LOG, ensure, exit_code, found, good_end, ktap, succeeded,
};
use farfault_tests::run::{Farfault, Step, USUAL, how_many, script_of};
use farfault_tests::unit::Unit;

const PROGRAM: &str = "exclusive";
const DEVICE: &str = "--device=atomics=off,vram=32M";

/// How often each side counts, usually and by night.
const INCREMENTS: [u64; 2] = [20_000, 1_000_000];

/// The parameter of the driver that takes out what the unit is about, and what is said then.
const BROKEN: &str = "break_exclusive";
/// Whether anything is lost depends on a CPU that comes between a read and a write; that the page
/// stays with both does not.
const NOTICED: [&str; 2] = ["the sum: expected", "not so: the page changes hands"];
const TEST: &str = "both_count_as_fast_as_they_can";
/// How often each side counts there, so that something is lost as a rule.
const OFTEN: u64 = 200_000;

pub fn units() -> Vec<Unit> {
    vec![
        Unit::new(PROGRAM, run).of_content(),
        Unit::new("exclusive::broken-driver", broken).of_content(),
    ]
}

fn options() -> Vec<&'static str> {
    [&USUAL, &[DEVICE][..]].concat()
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let [usual, nightly] = INCREMENTS;
    let increments = how_many("FARFAULT_INCREMENTS", usual, nightly)?;
    let command = format!("FARFAULT_INCREMENTS={increments} {PROGRAM}");
    let steps = [(PROGRAM, command.as_str()), LEAKS, LOG];
    let steps = steps.map(|(name, command)| Step::apart(name, command));
    let finished = farfault.script(&options(), &script_of(&steps, ""))?;
    let mut checks = ktap(&finished, PROGRAM);
    checks.extend(good_end(&finished));
    Ok(checks)
}

fn broken(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let load = format!("unload && insmod /lib/modules/farfault.ko {BROKEN}=1");
    let steps = [
        Step::new("load", load),
        Step::new(TEST, format!("FARFAULT_INCREMENTS={OFTEN} {PROGRAM} {TEST}")),
    ];
    let finished = farfault.script(&options(), &script_of(&steps, ""))?;
    let noticed = || {
        let output = found(&finished, TEST)?.output;
        let told = NOTICED.iter().any(|told| output.contains(told));
        ensure(told, || format!("it is not: {output}"))
    };
    Ok(vec![
        Check::new(format!("{BROKEN} is loaded"), succeeded(&finished, "load")),
        Check::new(format!("{BROKEN} is noticed"), noticed()),
        Check::new("exit code", exit_code(&finished, 0)),
    ])
}
