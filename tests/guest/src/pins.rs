// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pinned pages, as the kernel counts them.

use crate::Failure;
use std::fs;

/// Pages that `pin_user_pages` has pinned in the whole system and that were not let go yet.
pub fn in_system() -> Result<u64, Failure> {
    // CPUs count for themselves and add that up now and then, or when told to.
    fs::write("/proc/sys/vm/stat_refresh", "1")?;
    let text = fs::read_to_string("/proc/vmstat")?;
    let acquired = number(&text, "nr_foll_pin_acquired")?;
    Ok(acquired.saturating_sub(number(&text, "nr_foll_pin_released")?))
}

/// Pages charged to this process as pinned: `VmPin`.
pub fn of_process() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/status")?;
    Ok(number(&text, "VmPin:")? / 4)
}

fn number(text: &str, name: &str) -> Result<u64, Failure> {
    let mut lines = text.lines().map(str::split_whitespace);
    let value = lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()));
    let value = value.flatten().ok_or_else(|| format!("the kernel does not tell {name}"))?;
    Ok(value.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "VmPinned:\t8 kB\nVmPin:\t 12 kB\n";
        assert_eq!(number(text, "VmPin:").unwrap(), 12);
        assert!(number(text, "VmPi").is_err());
    }
}
