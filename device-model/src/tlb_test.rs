// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an address finds, and what an invalidation drops.

use super::*;
use crate::space::{Range, Space};

#[test]
fn addresses_that_no_space_has_match_nothing() {
    let mut tlb = Tlb::new(0);
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
    let (mut tlb, owner, va) = (Tlb::new(0), Owner::new(3), 5 << 30);
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
    tlb.catch_up(0, &space.enter());
    assert_eq!(found(&tlb), (Some(2), Some(2)));
    space.invalidate(Range { pasid: 4, start: va, last: va + 4095 });
    tlb.catch_up(0, &space.enter());
    assert_eq!(found(&tlb), (Some(2), Some(2)));
    space.invalidate(Range { pasid: 3, start: va, last: va + (1 << 21) - 1 });
    tlb.catch_up(0, &space.enter());
    assert_eq!(found(&tlb), (None, None));
}
