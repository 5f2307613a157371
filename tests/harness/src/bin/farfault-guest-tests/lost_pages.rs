// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device that does not give back what is in its memory.

use crate::device_memory::SHARED_BUG;
use farfault_tests::check::{Check, LEAKS, LOG, good_end_but, ktap};
use farfault_tests::run::{Farfault, Step, USUAL, script_of};
use farfault_tests::unit::Unit;

const PROGRAM: &str = "lost-pages";

/// Its second copy, and all behind it, fail.
const FAILING: &str = "--device=vram=32M,failing_copies=2";
const WHEN_THEY_FAIL: &str = "lost-pages it_does_not_come_back it_stays_where_it_was \
                              it_is_not_preferred_there a_reset_loses_it unbinding_loses_it";

/// Its second copy never ends.
const STUCK: &str = "--device=vram=32M,stuck_copy=2";
const WHEN_IT_IS_STUCK: &str = "lost-pages a_copy_never_ends";

pub fn units() -> Vec<Unit> {
    [("failing", FAILING, WHEN_THEY_FAIL), ("stuck", STUCK, WHEN_IT_IS_STUCK)]
        .map(|(name, device, command)| {
            let run = move |farfault: &Farfault| run(farfault, device, command);
            Unit::new(format!("{PROGRAM}::{name}"), run).of_content()
        })
        .into()
}

fn run(farfault: &Farfault, device: &str, command: &str) -> Result<Vec<Check>, String> {
    let steps = [(PROGRAM, command), LEAKS, LOG].map(|(name, command)| Step::new(name, command));
    let finished = farfault.script(&[&USUAL, &[device][..]].concat(), &script_of(&steps, ""))?;
    let mut checks = ktap(&finished, PROGRAM);
    checks.extend(good_end_but(&finished, Some(SHARED_BUG)));
    Ok(checks)
}
