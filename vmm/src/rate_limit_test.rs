// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is let through, with a clock of the test's own.

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
