// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest driver's counters, as its debugfs file shows them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub type Counters = BTreeMap<String, u64>;

const DEBUGFS: &str = "/sys/kernel/debug/farfault";

/// What the driver has counted by now; nothing where there is no driver.
pub fn read() -> Counters {
    read_below(Path::new(DEBUGFS))
}

/// Adds up the counters of all devices, each a folder with a file `counters`.
fn read_below(folder: &Path) -> Counters {
    let mut sum = Counters::new();
    for device in fs::read_dir(folder).into_iter().flatten().flatten() {
        let text = fs::read_to_string(device.path().join("counters")).unwrap_or_default();
        for (name, value) in text.lines().filter_map(parse) {
            let total = sum.entry(name.to_owned()).or_default();
            *total = total.saturating_add(value);
        }
    }
    sum
}

/// A line is `name value`.
fn parse(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.trim().split_once(char::is_whitespace)?;
    Some((name, value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_number() {
        assert_eq!(parse("faults 12"), Some(("faults", 12)));
        assert_eq!(
            parse("  range_fault_calls\t 18446744073709551615 "),
            Some(("range_fault_calls", u64::MAX))
        );
        for line in ["", "faults", "faults -1", "faults 1 2", "faults x"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn devices_add_up() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        assert_eq!(read_below(&root.join("nowhere")), Counters::new());
        for (device, text) in
            [("0000:00:03.0", "faults 3\nbatches 1\n"), ("0000:00:04.0", "faults 4\n")]
        {
            fs::create_dir_all(root.join(device)).unwrap();
            fs::write(root.join(device).join("counters"), text).unwrap();
        }
        let expected = [("batches".to_owned(), 1), ("faults".to_owned(), 7)].into();
        assert_eq!(read_below(root), expected);
    }
}
