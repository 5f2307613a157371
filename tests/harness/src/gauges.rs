// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Judges what the driver counts: what is made and given back must be back at 0.

/// The shell command by which a guest prints the driver's counters.
pub const COUNTERS: &str = "cat /sys/kernel/debug/farfault/*/counters";

/// What there is now, of things that are given back when the last file is closed.
const GAUGES: [&str; 6] =
    ["contexts", "queues", "notifiers", "table_pages", "dma_mappings", "pages_pinned"];

/// Those that are not 0 in the driver's `counters`, or not there.
#[must_use]
pub fn not_at_zero(counters: &str) -> Vec<&'static str> {
    let is_at_zero =
        |gauge: &str| counters.lines().any(|line| line.split_whitespace().eq([gauge, "0"]));
    GAUGES.into_iter().filter(|gauge| !is_at_zero(gauge)).collect()
}

#[cfg(test)]
mod tests {
    use super::not_at_zero;

    #[test]
    fn a_gauge_that_is_left_or_missing_is_named() {
        let counters =
            "faults 3\ncontexts 0\nqueues 1\nnotifiers 0\ntable_pages 0\npages_pinned 0\n";
        assert_eq!(not_at_zero(counters), ["queues", "dma_mappings"]);
    }
}
