// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How much memory of the host a run takes.

use serde::{Deserialize, Serialize};
use std::fs;
use std::ops::Range;

/// Private memory of a process that was written, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct PrivateDirty {
    pub private_dirty_kib: u64,
    /// What of it is the guest's RAM. Where that is a kept state's file, these are the pages that
    /// the guest has written since.
    pub ram_private_dirty_kib: u64,
}

impl PrivateDirty {
    /// Of a process, by its folder in /proc, and of those of its mappings that are RAM.
    pub fn of(process: &str, is_ram: impl Fn(Range<u64>) -> bool) -> PrivateDirty {
        let maps = fs::read_to_string(format!("/proc/{process}/smaps")).unwrap_or_default();
        PrivateDirty {
            private_dirty_kib: total(&maps, |_, sharing| Some(written(sharing))),
            ram_private_dirty_kib: total(&maps, |range, sharing| {
                is_ram(range).then_some(written(sharing))
            }),
        }
    }
}

/// How a mapping takes writes.
#[derive(Clone, Copy)]
enum Sharing {
    Private,
    Shared,
}

/// Which field has what the process has written to a mapping. A page of a file that is mapped
/// privately and only read is dirty, too, until the file's own writes have reached the disk.
fn written(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Private => "Anonymous:",
        Sharing::Shared => "Private_Dirty:",
    }
}

/// Sums up a field of each mapping, if any.
fn total(maps: &str, field: impl Fn(Range<u64>, Sharing) -> Option<&'static str>) -> u64 {
    let mut wanted = None;
    let mut total = 0;
    for line in maps.lines() {
        if let Some((range, sharing)) = header(line) {
            wanted = field(range, sharing);
        } else if let Some(field) = wanted {
            total += kib(line, field).unwrap_or(0);
        }
    }
    total
}

/// Whether all of `range` is guest RAM. It may cover more than one piece: the
/// kernel joins neighbours.
pub fn covered(range: Range<u64>, ram: &[Range<u64>]) -> bool {
    let mut from = range.start;
    while let Some(piece) = ram.iter().find(|piece| piece.contains(&from)) {
        if range.end <= piece.end {
            return true;
        }
        from = piece.end;
    }
    false
}

/// The address range, if a line begins a mapping, and what its permissions end with.
fn header(line: &str) -> Option<(Range<u64>, Sharing)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let range = u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
    let shared = words.next()?.ends_with('s');
    Some((range, if shared { Sharing::Shared } else { Sharing::Private }))
}

fn kib(line: &str, field: &str) -> Option<u64> {
    line.strip_prefix(field)?.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0000200000 rw-p 00000000 00:00 0
Size:               2048 kB
Anonymous:           300 kB
Private_Dirty:       200 kB
VmFlags: rd wr
7f0000200000-7f0000201000 rw-p 00000000 00:00 0 [anon:stack]
Anonymous:             4 kB
Private_Dirty:         3 kB
7f0000400000-7f0000402000 rw-s 00000000 00:01 7 /memfd:ram
Anonymous:             0 kB
Private_Dirty:         8 kB
";

    #[test]
    fn guest_ram_may_be_in_pieces() {
        let first = 0x7f00_0000_0000..0x7f00_0020_0000;
        let second = 0x7f00_0020_0000..0x7f00_0020_1000;
        let within = |ram: &[Range<u64>]| {
            total(MAPS, |range, sharing| covered(range, ram).then_some(written(sharing)))
        };
        assert_eq!(within(std::slice::from_ref(&first)), 300);
        assert_eq!(within(std::slice::from_ref(&second)), 4);
        assert_eq!(within(&[second, first]), 304);
        let pieces = [0x7f00_0010_0000..0x7f00_0020_0000, 0x7f00_0000_0000..0x7f00_0010_0000];
        assert_eq!(within(&pieces), 300);
        assert_eq!(within(&pieces[..1]), 0);
        assert_eq!(within(&[]), 0);
    }

    #[test]
    fn what_is_written_is_anonymous_where_it_is_copied() {
        let of = |wanted: &dyn Fn(Range<u64>) -> bool| {
            total(MAPS, |range, sharing| wanted(range).then_some(written(sharing)))
        };
        assert_eq!(of(&|_| true), 300 + 4 + 8);
        assert_eq!(of(&|range| range.end - range.start == 4096), 4);
        assert_eq!(of(&|range| range.start == 0x7f00_0040_0000), 8);
    }

    #[test]
    fn this_process_has_some() {
        let own = PrivateDirty::of("self", |_| false);
        assert!(own.private_dirty_kib > 0 && own.ram_private_dirty_kib == 0, "{own:?}");
        assert_eq!(PrivateDirty::of("none", |_| true), PrivateDirty::default());
    }
}
