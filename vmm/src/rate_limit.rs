// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A bound on lines that a guest can cause.

use std::time::Duration;

/// So many lines in a period.
const LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(5);

/// Lets the first few through in each period, and counts the others.
#[derive(Debug, Default)]
pub struct RateLimit {
    /// When the period began.
    begun: Duration,
    lines: u32,
    dropped: u64,
}

impl RateLimit {
    /// Whether a line at `now` may be printed, and how many were not since the last.
    pub fn admit(&mut self, now: Duration) -> Option<u64> {
        if now.saturating_sub(self.begun) >= PERIOD {
            (self.begun, self.lines) = (now, 0);
        }
        if self.lines == LINES {
            self.dropped += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_a_few_lines_and_a_count() {
        let mut limit = RateLimit::default();
        let at = |limit: &mut RateLimit, ms| limit.admit(Duration::from_millis(ms));
        let flood: Vec<_> = (0..1000).filter_map(|ms| at(&mut limit, ms)).collect();
        assert_eq!(flood, [0; LINES as usize]);
        assert_eq!(at(&mut limit, 4999), None);
        assert_eq!(at(&mut limit, 5000), Some(991), "a new period says what was left out");
        assert_eq!(at(&mut limit, 5001), Some(0));
        assert_eq!(at(&mut limit, 60_000), Some(0));
    }
}
