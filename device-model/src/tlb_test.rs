// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an address finds, and what an invalidation drops.

use super::*;
use crate::space::{Range, Space};
use std::iter;

/// The number of a page.
impl Leads for u32 {
    fn place(&self) -> Place {
        Place { start: u64::from(*self) << 12, bytes: 4096 }
    }
}

/// A number of so many pages.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pages(u64, u64);

impl Leads for Pages {
    fn place(&self) -> Place {
        Place { start: self.0 << 12, bytes: self.1 << 12 }
    }
}

/// What is dropped is what leads to memory that was unmapped, whatever its size, and nothing
/// that does not.
#[test]
fn what_was_unmapped_is_dropped_and_nothing_else() {
    let owner = Owner::new(1);
    let page = |number: u64| number << 12;
    // Two pages far apart, whose numbers are counted together; a large leaf that begins in the
    // midst of 2 MiB; a table.
    let fill = |tlb: &mut Tlb<Pages>| {
        tlb.fill(owner, page(1), 0, false, Pages(100, 1));
        tlb.fill(owner, page(2), 0, true, Pages(100 + 8192, 1));
        tlb.fill(owner, 8 << 21, 1, false, Pages(1000, 512));
        tlb.tables.fill(owner, 9 << 21, Pages(7, 1));
    };
    let known = |tlb: &Tlb<Pages>| {
        [
            tlb.lookup(owner, page(1), false).is_some(),
            tlb.lookup(owner, page(2), true).is_some(),
            tlb.lookup(owner, 8 << 21, false).is_some(),
            tlb.tables.lookup(owner, 9 << 21).is_some(),
        ]
    };
    let cases = [
        ((100, 100), [false, true, true, true]),
        ((100 + 8192, 100 + 8192), [true, false, true, true]),
        ((99, 99), [true; 4]),
        ((101, 999), [true; 4]),
        ((1512, 8291), [true; 4]),
        ((1511, 1511), [true, true, false, true]),
        ((900, 1000), [true, true, false, true]),
        ((7, 7), [true, true, true, false]),
        ((0, 1 << 40), [false; 4]),
    ];
    for ((first, last), left) in cases {
        let (mut tlb, mut log) = (Tlb::new(8192, Pages(0, 1)), Log::new());
        let same = |stretch: &Stretch| {
            iter::once(Place { start: stretch.start, bytes: stretch.last - stretch.start + 1 })
        };
        fill(&mut tlb);
        log.push(Stretch { start: page(first), last: page(last + 1) - 1 });
        tlb.follow(&log, same);
        assert_eq!(known(&tlb), left, "{first} to {last}");
        // What comes after it stays, and so it is when all else was dropped by other ways.
        fill(&mut tlb);
        tlb.follow(&log, same);
        assert_eq!(known(&tlb), [true; 4]);
        let space = Space::new();
        space.invalidate(Range { pasid: 1, start: 0, last: page(3) });
        tlb.catch_up(0, &space.enter().log);
        tlb.fill(owner, page(1), 0, false, Pages(300, 1));
        log.push(Stretch { start: page(first), last: page(last + 1) - 1 });
        tlb.follow(&log, same);
        assert_eq!(known(&tlb)[0], last < 300 || first > 300);
        (0..65).for_each(|_| log.push(Stretch { start: 0, last: 0 }));
        tlb.follow(&log, same);
        assert_eq!(known(&tlb), [false; 4], "too far behind");
    }
}

#[test]
fn addresses_that_no_space_has_match_nothing() {
    let mut tlb = Tlb::new(8192, 0);
    for pasid in 0..16 {
        tlb.fill(Owner::new(pasid), 0x5000, 0, false, pasid);
    }
    for high in 1..16u64 {
        let va = high << 48 | 0x5000;
        assert_eq!(tlb.lookup(Owner::new(0), va, false), None);
        assert_eq!(tlb.lookup_page(Owner::new(0), va), None);
    }
    assert_eq!(tlb.lookup(Owner::new(7), 0x5000, false), Some(&7));
    assert_eq!(tlb.lookup(Owner::new(7), 0x5000, true), None);
}

#[test]
fn pages_are_for_words_and_leaves_for_all_else() {
    let (mut tlb, owner, va) = (Tlb::new(8192, 0), Owner::new(3), 5 << 30);
    let found = |tlb: &Tlb<u32>| {
        (tlb.lookup(owner, va, false).copied(), tlb.lookup_page(owner, va).copied())
    };
    // The page of a leaf that may be written is not for reading.
    tlb.fill(owner, va, 0, true, 1);
    assert_eq!(found(&tlb), (None, None));
    tlb.fill(owner, va, 0, false, 2);
    assert_eq!(found(&tlb), (Some(2), Some(2)));
    tlb.fill(owner, va, 1, false, 3);
    assert_eq!(found(&tlb), (Some(3), Some(2)));
    tlb.fill(owner, va, 2, false, 4);
    assert_eq!(found(&tlb), (Some(4), Some(2)));
    assert_eq!(tlb.lookup_page(Owner::new(4), va), None);
    assert_eq!(tlb.lookup_page(owner, va + 4096), None);
    // An invalidation drops the leaves that it touches and the pages that it covers.
    let space = Space::new();
    space.invalidate(Range { pasid: 3, start: va + 4096, last: va + 8191 });
    tlb.catch_up(0, &space.enter().log);
    assert_eq!(found(&tlb), (Some(2), Some(2)));
    space.invalidate(Range { pasid: 4, start: va, last: va + 4095 });
    tlb.catch_up(0, &space.enter().log);
    assert_eq!(found(&tlb), (Some(2), Some(2)));
    space.invalidate(Range { pasid: 3, start: va, last: va + (1 << 21) - 1 });
    tlb.catch_up(0, &space.enter().log);
    assert_eq!(found(&tlb), (None, None));
}
