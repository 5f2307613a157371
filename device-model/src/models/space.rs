// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rule 1: once an invalidation returns, its frame is its new owner's alone.

use crate::space::{Range, Space};
use crate::tlb::{Owner, Tlb};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;

const PASID: u32 = 1;
const VA: u64 = 0x1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// The TLB is not caught up at the start of a section.
    NoCatchUp,
    /// The access comes after the section.
    AccessOutside,
    /// The walk comes before the section.
    WalkOutside,
    /// The frame is reused without an invalidation.
    NoInvalidation,
    /// The invalidation comes before the page-table entry changes.
    InvalidatesFirst,
}

struct World {
    space: Space,
    /// The page-table entry: the number of a frame.
    entry: AtomicUsize,
    frames: [UnsafeCell<u32>; 2],
}

/// Accesses the page, twice so that the second may hit in the TLB.
fn engine(world: &World, bug: Bug) {
    let mut tlb = Tlb::with_entries([1, 1, 1], 1, 0);
    for _ in 0..2 {
        let walked_early = world.entry.load(Ordering::Acquire);
        let section = world.space.enter();
        if bug != Bug::NoCatchUp {
            tlb.catch_up(0, &section.log);
        }
        let hit = tlb.lookup(Owner::new(PASID), VA, false).copied();
        let frame = hit.unwrap_or_else(|| {
            let walked = world.entry.load(Ordering::Acquire);
            let frame = if bug == Bug::WalkOutside { walked_early } else { walked };
            tlb.fill(Owner::new(PASID), VA, 0, false, frame);
            frame
        });
        if bug == Bug::AccessOutside {
            drop(section);
            // loom sees an access that anything else is not ordered with.
            world.frames[frame].with(|_| ());
        } else {
            world.frames[frame].with(|_| ());
            drop(section);
        }
    }
}

/// Moves the page to frame `to`, after which the other frame is free.
fn migrate(world: &World, to: usize, bug: Bug) {
    let range = Range { pasid: PASID, start: VA, last: VA + 0xfff };
    if bug == Bug::InvalidatesFirst {
        world.space.invalidate(range);
    }
    world.entry.store(to, Ordering::Release);
    if !matches!(bug, Bug::InvalidatesFirst | Bug::NoInvalidation) {
        world.space.invalidate(range);
    }
    world.frames[1 - to].with_mut(|_| ());
}

fn model(engines: usize, migrations: usize, bug: Bug) {
    super::explore(3, move || {
        let world = Arc::new(World {
            space: Space::new(),
            entry: AtomicUsize::new(0),
            frames: [UnsafeCell::new(0), UnsafeCell::new(0)],
        });
        let engines: Vec<_> = (0..engines)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || engine(&world, bug))
            })
            .collect();
        for turn in 0..migrations {
            migrate(&world, (turn + 1) % 2, bug);
        }
        engines.into_iter().for_each(|engine| engine.join().unwrap());
    });
}

#[test]
fn two_engines_two_invalidations() {
    model(2, 2, Bug::None);
}

finds! {
    finds_a_tlb_that_is_not_caught_up: model(1, 1, Bug::NoCatchUp), "Causality violation";
    finds_an_access_outside_the_section: model(1, 1, Bug::AccessOutside), "Causality violation";
    finds_a_walk_outside_the_section: model(1, 1, Bug::WalkOutside), "Causality violation";
    finds_a_missing_invalidation: model(1, 1, Bug::NoInvalidation), "Causality violation";
    finds_an_invalidation_before_the_change: model(1, 1, Bug::InvalidatesFirst), "Causality violation";
}
