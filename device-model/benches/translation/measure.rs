// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Clocks and medians.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// CPU time of the calling thread that `work` takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    let now = || Duration::from(clock_gettime(clock).expect("a clock that Linux has"));
    let before = now();
    work();
    now() - before
}

/// The value that `share` of all are below.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    quantile(&mut values, 0.5)
}
