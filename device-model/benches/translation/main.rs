// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What translation costs: the device's copies and loads as ratios to plain ones.
//!
//! Device and plain take turns in one run, and the median of many turns counts,
//! because the machines that this runs on do other things too. Work is measured
//! in CPU time of the threads that do it; the latency of an invalidation in wall
//! time, from ringing the doorbell to the fence of the wait behind it.
//!
//!     cargo bench -p farfault-device-model --bench translation

mod copies;
mod loads;
mod measure;

use farfault_reference_driver::{LARGE, PAGE};

fn main() {
    // `cargo test --benches` passes no --bench; then it is enough that it runs.
    let turns = if std::env::args().any(|arg| arg == "--bench") { 15 } else { 1 };
    println!("device copy / plain memcpy (bytes per CPU second), median of {turns} turns");
    println!(
        "{:<31} {:>7} {:>11} {:>11} {:>7} {:>12} {:>24}",
        "",
        "engines",
        "plain GB/s",
        "device GB/s",
        "ratio",
        "least - most",
        "invalidation p50/p99 us"
    );
    for (name, leaf) in [("4 KiB, scattered", PAGE), ("2 MiB", LARGE)] {
        for engines in [1, 2] {
            for invalidating in [false, true] {
                copies::measure(name, leaf, engines, invalidating, turns).print();
            }
        }
    }
    println!();
    println!("hot 8-byte loads, each at the address that the one before gave");
    for (name, leaf, parts) in [
        ("4 KiB leaves", PAGE, 1),
        ("2 MiB leaves", LARGE, 1),
        ("2 MiB leaves, a list in 8", LARGE, 8),
    ] {
        loads::measure(name, leaf, parts, turns).print();
    }
}
