// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Invalidations and the sections that they wait for, and their log.

use super::*;
use std::thread;

/// An invalidation waits for the sections that are open, and for no later ones.
#[test]
fn sections_that_come_later_wait_for_the_invalidation() {
    let space = Space::new();
    let section = space.enter();
    thread::scope(|scope| {
        let invalidation = scope.spawn(|| space.invalidate(Range::default()));
        // A reader is let in until the writer stands in line, and then no more.
        while space.state.try_read().is_some() {
            thread::yield_now();
        }
        assert!(!invalidation.is_finished());
        let later = scope.spawn(|| space.enter().log.generation());
        drop(section);
        assert_eq!(later.join().ok(), Some(1));
    });
}

#[test]
fn the_log_says_when_it_is_too_short() {
    let space = Space::new();
    let range = |n: u64| Range { pasid: 1, start: n << 12, last: (n << 12) + 4095 };
    for n in 0..100 {
        space.invalidate(range(n));
    }
    let state = space.enter();
    assert!(state.log.since(35).is_none());
    let seen: Vec<Range> = state.log.since(36).into_iter().flatten().copied().collect();
    assert_eq!(seen, (36..100).map(range).collect::<Vec<_>>());
    assert_eq!(state.log.since(100).map(Iterator::count), Some(0));
}
