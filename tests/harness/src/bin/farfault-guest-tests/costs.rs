// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a submission, a far fault and an invalidation cost on a hosting, in counts: what a CPU of
//! the guest waits for, doorbells, and interrupts.

use farfault_tests::check::{Check, ensure, good_end, succeeded};
use farfault_tests::check::{LEAKS, LOG};
use farfault_tests::run::{Farfault, Step, USUAL, marked, script_of};
use farfault_tests::unit::Unit;
use serde_json::Value;

/// How often the program does each.
const TIMES: u64 = 64;

/// What is done up to a mark of the program, and the most that a CPU may wait for each.
const DONE: [(&str, &str, u64); 3] = [
    ("submission", "submitted", 0),
    ("far fault", "faulted", 2),
    ("invalidation", "invalidated", 0),
];

pub fn units() -> Vec<Unit> {
    vec![Unit::new("costs", run).of_content()]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = [("costs", "costs"), LEAKS, LOG];
    let steps = steps.map(|(name, command)| Step::new(name, command));
    let finished = farfault.script(&USUAL, &script_of(&steps, ""))?;
    let mut checks = vec![Check::new("costs", succeeded(&finished, "costs"))];
    for (name, mark, most) in DONE {
        checks.push(Check::new(name, within(farfault, &finished.stats, name, mark, most)));
    }
    checks.extend(good_end(&finished));
    Ok(checks)
}

/// Tells what each has cost, and holds it to the most that it may.
fn within(
    farfault: &Farfault,
    stats: &Value,
    name: &str,
    mark: &str,
    most: u64,
) -> Result<(), String> {
    let hosting = farfault.hosting();
    let (waits, doorbells) = (hosting.waits(stats, mark)?, hosting.doorbells(stats, mark)?);
    let interrupts = marked(stats, mark, "vmm/msix_sent")?;
    let each = |count: u64| format!("{:.2}", count as f64 / TIMES as f64);
    println!(
        "note: cost: {name}: {} accesses that a CPU waits for, {} doorbells, {} interrupts",
        each(waits),
        each(doorbells),
        each(interrupts)
    );
    // A process that comes and goes beside it is not what is counted.
    ensure(waits <= most * TIMES + TIMES / 4, || {
        format!("{waits} accesses that a CPU waits for, {TIMES} times {name}")
    })
}
