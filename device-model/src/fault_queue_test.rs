// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which of two groups of a queue is kept.

use super::*;

fn kept(numbers: [u32; 2]) -> Option<u32> {
    let mut queue = FaultQueue::default();
    numbers.into_iter().for_each(|number| queue.push(Group::new(7, number, Vec::new())));
    queue.push(Group::new(8, 1, Vec::new()));
    assert_eq!(queue.waiting.len(), 2);
    queue.waiting_group(7)
}

#[test]
fn the_later_group_of_a_queue_is_kept_in_whatever_order_they_come() {
    assert_eq!(kept([1, 2]), Some(2));
    assert_eq!(kept([2, 1]), Some(2));
    assert_eq!(kept([u32::MAX, 1]), Some(1), "numbers wrap");
    assert_eq!(kept([1, u32::MAX]), Some(1));
}
