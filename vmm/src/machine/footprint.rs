// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How much memory the VMM itself takes: what is private to this process and
//! not the guest's RAM.

use std::fs;
use std::ops::Range;

/// Private memory outside `ram` (addresses of this process), in KiB.
pub fn private_kib(ram: &[Range<u64>]) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let maps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    anonymous_total(&status).saturating_sub(anonymous_within(&maps, ram))
}

fn anonymous_total(status: &str) -> u64 {
    status.lines().find_map(|line| kib(line, "RssAnon:")).unwrap_or(0)
}

fn anonymous_within(maps: &str, ram: &[Range<u64>]) -> u64 {
    let mut inside = false;
    let mut total = 0;
    for line in maps.lines() {
        if let Some(range) = header(line) {
            inside = covered(range, ram);
        } else if inside {
            total += kib(line, "Anonymous:").unwrap_or(0);
        }
    }
    total
}

/// Whether all of `range` is guest RAM. It may cover more than one piece: the
/// kernel joins neighbours.
fn covered(range: Range<u64>, ram: &[Range<u64>]) -> bool {
    let mut from = range.start;
    while let Some(piece) = ram.iter().find(|piece| piece.contains(&from)) {
        if range.end <= piece.end {
            return true;
        }
        from = piece.end;
    }
    false
}

/// The address range, if a line begins a mapping.
fn header(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_ascii_whitespace().next()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
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
VmFlags: rd wr
7f0000200000-7f0000201000 rw-p 00000000 00:00 0 [anon:stack]
Anonymous:             4 kB
";

    #[test]
    fn only_mappings_of_guest_ram_are_subtracted() {
        let first = 0x7f00_0000_0000..0x7f00_0020_0000;
        let second = 0x7f00_0020_0000..0x7f00_0020_1000;
        assert_eq!(anonymous_within(MAPS, std::slice::from_ref(&first)), 300);
        assert_eq!(anonymous_within(MAPS, std::slice::from_ref(&second)), 4);
        assert_eq!(anonymous_within(MAPS, &[second, first]), 304);
        let pieces = [0x7f00_0010_0000..0x7f00_0020_0000, 0x7f00_0000_0000..0x7f00_0010_0000];
        assert_eq!(anonymous_within(MAPS, &pieces), 300);
        assert_eq!(anonymous_within(MAPS, &pieces[..1]), 0);
        assert_eq!(anonymous_within(MAPS, &[]), 0);
        assert_eq!(anonymous_total("VmRSS:\t  10 kB\nRssAnon:\t    7 kB\n"), 7);
    }

    #[test]
    fn this_process_has_some() {
        assert!(private_kib(&[]) > 0);
    }
}
