// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The BARs of a function of the host: as large as there, with the host's memory in them where
//! nothing of ours is.

use super::host::HostFunction;
use crate::pci::{Area, Backing, Bar, Width};
use std::ops::Range;
use std::sync::Arc;

const BAR_0: usize = 0x10;
const COUNT: usize = 6;
const IO: u8 = 1;
const BITS_64: u8 = 0b100;
const PREFETCHABLE: u8 = 0b1000;
/// The least that a memory BAR has.
const SMALLEST: u64 = 16;
const PAGE: u64 = 4096;

/// The memory BARs of which the host has `raw`. The guest has no I/O ports for others: each
/// driver that is not of the last century does without. `ours` says what of a BAR is not the
/// host's.
pub fn bars(
    host: &dyn HostFunction,
    raw: &[u8],
    ours: impl Fn(usize) -> Vec<Range<u64>>,
) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut index = 0;
    while index < COUNT {
        let kind = raw.get(BAR_0 + 4 * index).copied().unwrap_or(0);
        let size = host.bar_size(index);
        let wide = kind & IO == 0 && kind & BITS_64 != 0 && index + 1 < COUNT;
        if kind & IO == 0 && size.is_power_of_two() && size >= SMALLEST {
            bars.push(Bar {
                index,
                width: if wide { Width::Bits64 } else { Width::Bits32 },
                prefetchable: kind & PREFETCHABLE != 0,
                size,
                areas: mapped(host, index, size, &ours(index)),
            });
        }
        index += if wide { 2 } else { 1 };
    }
    bars
}

/// What of a BAR the guest reaches without an exit. What cannot be mapped is not lost.
fn mapped(host: &dyn HostFunction, bar: usize, size: u64, ours: &[Range<u64>]) -> Vec<Area> {
    let within = |range: Range<u64>| range.start..range.end.min(size);
    let mappable = host.mappable(bar).into_iter().map(within);
    let pages = mappable.flat_map(|range| without(&range, ours));
    let area = |range: Range<u64>| {
        let mapping = host.map(bar, range.clone()).ok()?;
        Some(Area { range, backing: Backing::Mapped(Arc::new(mapping)) })
    };
    pages.filter_map(area).collect()
}

/// The whole pages of a range that have nothing of these in them.
fn without(range: &Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let up = |offset: u64| offset.next_multiple_of(PAGE);
    let down = |offset: u64| offset & !(PAGE - 1);
    let mut holes: Vec<_> = others.iter().map(|other| down(other.start)..up(other.end)).collect();
    holes.sort_by_key(|hole| hole.start);
    let mut pieces = Vec::new();
    let mut start = up(range.start);
    let end = down(range.end);
    for hole in holes {
        pieces.push(start..hole.start.min(end));
        start = start.max(hole.end);
    }
    pieces.push(start..end);
    pieces.retain(|piece| piece.start < piece.end);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_with_something_of_ours_are_left_out() {
        let left = |range: Range<u64>, ours: &[(u64, u64)]| {
            let ours: Vec<_> = ours.iter().map(|(start, end)| *start..*end).collect();
            let left = without(&range, &ours).into_iter();
            left.map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        let all = || 0..0x10000;
        assert_eq!(left(all(), &[]), [(0, 0x10000)]);
        let in_one_page = [(0x2000, 0x2040), (0x2800, 0x2808)];
        assert_eq!(left(all(), &in_one_page), [(0, 0x2000), (0x3000, 0x10000)]);
        assert_eq!(left(all(), &[(0xfff0, 0x10000), (0, 8)]), [(0x1000, 0xf000)]);
        assert_eq!(left(all(), &[(0, 0x10000)]), []);
        assert_eq!(left(all(), &[(0x20000, 0x20010)]), [(0, 0x10000)]);
        assert_eq!(left(0..0x80, &[]), [], "less than a page");
        assert_eq!(left(0x800..0x2800, &[]), [(0x1000, 0x2000)]);
    }
}
