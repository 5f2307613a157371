// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files by which the kernel tells things, and is told.

use crate::Failure;
use std::fs;

/// Writes `text` to the file at `path`.
pub fn write(path: &str, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| format!("cannot write {text} to {path}: {error}").into())
}

/// What is in the file at `path`.
pub fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}").into())
}

/// The number that the file at `path` consists of.
pub fn number(path: &str) -> Result<u64, Failure> {
    let text = read(path)?;
    text.trim().parse().map_err(|_| format!("{path}: '{}' is no number", text.trim()).into())
}

/// The number in the line of `text` that begins with the word `name`.
pub fn number_of(name: &str, text: &str) -> Result<u64, Failure> {
    let mut lines = text.lines().map(str::split_whitespace);
    let value = lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()));
    let value = value.flatten().ok_or_else(|| format!("the kernel does not tell {name}"))?;
    Ok(value.parse()?)
}

/// Has pages that were just made, or given a new place, put where reclaim finds them: each CPU
/// keeps some of them to itself.
pub fn drain() -> Result<(), Failure> {
    write("/proc/sys/vm/drop_caches", "1")
}

/// A file that says something else for as long as this is there.
pub struct Setting {
    path: String,
    before: String,
}

impl Setting {
    /// Writes `text` to the file at `path`.
    pub fn set(path: String, text: &str) -> Result<Self, Failure> {
        let before = read(&path)?;
        write(&path, text)?;
        Ok(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // What could be set can be set back, as long as it is there.
        let _ = write(&self.path, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "VmPinned:\t8 kB\nVmPin:\t 12 kB\n";
        assert_eq!(number_of("VmPin:", text).unwrap(), 12);
        assert!(number_of("VmPi", text).is_err());
    }
}
