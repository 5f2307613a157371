// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Splits, gaps, and the ends of all addresses.

use super::*;
use proptest::prelude::*;

const PAGE: u64 = 4096;

fn span(first: u64, pages: u64) -> Span {
    Span::new(first * PAGE, pages * PAGE).expect("a span")
}

fn removed(maps: &mut Maps, span: Span) -> Vec<(u64, u64)> {
    let mut gone = Vec::new();
    maps.remove(span, &mut gone);
    let mut gone: Vec<_> = gone.iter().map(|s| (s.start / PAGE, s.last / PAGE)).collect();
    gone.sort_unstable();
    gone
}

fn found(maps: &Maps, page: u64) -> Option<(u64, u64)> {
    maps.find(page * PAGE).map(|mapping| (mapping.address / PAGE, mapping.left / PAGE))
}

#[test]
fn a_hole_in_a_map_leaves_both_its_ends() {
    let mut maps = Maps::default();
    maps.insert(span(16, 16), 100 * PAGE, Permits::ALL).expect("room");
    assert_eq!(maps.insert(span(31, 4), 0, Permits::ALL), Err(Errno::EXIST));
    assert_eq!(maps.insert(span(0, 17), 0, Permits::ALL), Err(Errno::EXIST));
    assert_eq!(removed(&mut maps, span(20, 4)), [(104, 107)]);
    assert_eq!(found(&maps, 19), Some((103, 1)));
    assert_eq!(found(&maps, 20), None);
    assert_eq!(found(&maps, 23), None);
    assert_eq!(found(&maps, 24), Some((108, 8)));
    assert_eq!(
        maps.find(24 * PAGE + 8).map(|m| (m.address, m.left)),
        Some((108 * PAGE + 8, 8 * PAGE - 8))
    );
    assert_eq!(found(&maps, 32), None);
    maps.insert(span(20, 4), 500 * PAGE, Permits::READ).expect("room in the hole");
    assert_eq!(maps.find(20 * PAGE).map(|mapping| mapping.permits), Some(Permits::READ));
    // Over gaps and several maps at once, to the end of all addresses.
    let rest = Span { first: 18 * PAGE, last: u64::MAX };
    assert_eq!(removed(&mut maps, rest), [(102, 103), (108, 115), (500, 503)]);
    assert_eq!(removed(&mut maps, rest), []);
    assert_eq!(removed(&mut maps, Span::ALL), [(100, 101)]);
}

#[test]
fn the_last_page_of_all_can_be_mapped() {
    let mut maps = Maps::default();
    let top = Span { first: u64::MAX - (PAGE - 1), last: u64::MAX };
    maps.insert(top, 7 * PAGE, Permits::ALL).expect("room");
    assert_eq!(maps.find(u64::MAX).map(|m| (m.address, m.left)), Some((8 * PAGE - 1, 1)));
    assert_eq!(maps.insert(Span::ALL, 0, Permits::ALL), Err(Errno::EXIST));
    assert_eq!(removed(&mut maps, top), [(7, 7)]);
}

proptest! {
    /// As a page-by-page table would have it.
    #[test]
    fn maps_are_what_a_table_of_pages_is(
        steps in prop::collection::vec((any::<bool>(), 0u64..60, 1u64..20, 0u64..1000), 1..60)
    ) {
        let (mut maps, mut table) = (Maps::default(), BTreeMap::new());
        for (insert, first, pages, to) in steps {
            let range = first..first + pages;
            if insert {
                let free = range.clone().all(|page| !table.contains_key(&page));
                let taken = maps.insert(span(first, pages), to * PAGE, Permits::ALL);
                prop_assert_eq!(taken, if free { Ok(()) } else { Err(Errno::EXIST) });
                if free {
                    range.for_each(|page| { table.insert(page, to + page - first); });
                }
            } else {
                let mut expected: Vec<u64> = range.filter_map(|page| table.remove(&page)).collect();
                expected.sort_unstable();
                let gone = removed(&mut maps, span(first, pages)).into_iter();
                let mut gone: Vec<u64> = gone.flat_map(|(from, to)| from..=to).collect();
                gone.sort_unstable();
                prop_assert_eq!(gone, expected);
            }
            for page in 0..80 {
                let place = found(&maps, page).map(|(address, _)| address);
                prop_assert_eq!(place, table.get(&page).copied());
            }
        }
    }
}
