// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the CPU's page table holds, from `/proc/<pid>/pagemap`.

use crate::Failure;
use crate::memory::PAGE;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// One entry (Documentation/admin-guide/mm/pagemap.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(u64);

impl Entry {
    /// Whether a page is there.
    pub fn is_present(self) -> bool {
        self.0 >> 63 & 1 == 1
    }

    /// Whether it is mapped by this process alone.
    pub fn is_exclusive(self) -> bool {
        self.0 >> 56 & 1 == 1
    }

    /// Whether it was written to since that was last forgotten (clear_refs).
    pub fn is_soft_dirty(self) -> bool {
        self.0 >> 55 & 1 == 1
    }

    /// Which of the places that the kernel swaps to it is in, if any.
    pub fn swap_type(self) -> Option<u64> {
        (self.0 >> 62 & 1 == 1).then_some(self.0 & 0x1f)
    }

    /// Page frame number; 0 where no page is there, or unless privileged.
    pub fn frame(self) -> u64 {
        if self.is_present() { self.0 & ((1 << 55) - 1) } else { 0 }
    }
}

/// The pagemap of a process.
pub struct Pagemap(File);

impl Pagemap {
    /// This process's.
    pub fn own() -> Result<Self, Failure> {
        Self::open("/proc/self/pagemap")
    }

    /// That of process `id`.
    pub fn of(id: i32) -> Result<Self, Failure> {
        Self::open(&format!("/proc/{id}/pagemap"))
    }

    fn open(path: &str) -> Result<Self, Failure> {
        Ok(Self(File::open(path).map_err(|error| format!("{path}: {error}"))?))
    }

    /// The entry for `address`.
    pub fn entry(&self, address: u64) -> Result<Entry, Failure> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, address / PAGE as u64 * 8)?;
        Ok(Entry(u64::from_le_bytes(bytes)))
    }

    /// The entries for `pages` pages from `address` on.
    pub fn entries(&self, address: u64, pages: usize) -> Result<Vec<Entry>, Failure> {
        let mut bytes = vec![0; pages * 8];
        self.0.read_exact_at(&mut bytes, address / PAGE as u64 * 8)?;
        let words = bytes.as_chunks().0.iter();
        Ok(words.map(|word| Entry(u64::from_le_bytes(*word))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Region;

    #[test]
    fn only_what_is_swapped_has_a_swap_type() {
        assert_eq!(Entry(1 << 63 | 0x23).swap_type(), None);
        assert_eq!(Entry(1 << 62 | 5 << 5 | 3).swap_type(), Some(3));
    }

    #[test]
    fn a_page_is_present_once_it_was_touched() {
        let mut region = Region::small_pages(2 * PAGE).unwrap();
        region[0] = 1;
        let pagemap = Pagemap::own().unwrap();
        assert!(pagemap.entry(region.address()).unwrap().is_present());
        assert!(!pagemap.entry(region.address() + PAGE as u64).unwrap().is_present());
        let both = pagemap.entries(region.address(), 2).unwrap();
        assert_eq!(both.iter().map(|entry| entry.is_present()).collect::<Vec<_>>(), [true, false]);
    }
}
