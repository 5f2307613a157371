// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel says of a page frame, from `/proc/kpageflags`.

use crate::Failure;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Flags of a frame (Documentation/admin-guide/mm/pagemap.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFlags(u64);

impl PageFlags {
    /// Whether it must be written before it is dropped.
    pub fn is_dirty(self) -> bool {
        self.has(4)
    }

    /// Whether it is being written.
    pub fn is_under_writeback(self) -> bool {
        self.has(8)
    }

    /// Whether it holds anonymous memory of a process.
    pub fn is_anonymous(self) -> bool {
        self.has(12)
    }

    /// Whether it has a place on swap.
    pub fn is_in_swap_cache(self) -> bool {
        self.has(13)
    }

    /// Whether it is the first of several that are one folio.
    pub fn is_head(self) -> bool {
        self.has(15)
    }

    /// Whether it is another one of these.
    pub fn is_tail(self) -> bool {
        self.has(16)
    }

    fn has(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
}

/// All page frames of the machine.
pub struct Frames(File);

impl Frames {
    /// Opens them; only root may.
    pub fn open() -> Result<Self, Failure> {
        const PATH: &str = "/proc/kpageflags";
        Ok(Self(File::open(PATH).map_err(|error| format!("{PATH}: {error}"))?))
    }

    /// What the kernel says of one.
    pub fn flags(&self, frame: u64) -> Result<PageFlags, Failure> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, frame * 8)?;
        Ok(PageFlags(u64::from_le_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_apart() {
        let clean = PageFlags(1 << 13);
        assert!(clean.is_in_swap_cache() && !clean.is_dirty() && !clean.is_under_writeback());
        assert!(PageFlags(1 << 4).is_dirty() && PageFlags(1 << 8).is_under_writeback());
        assert!(PageFlags(1 << 12).is_anonymous() && !clean.is_anonymous());
        assert!(PageFlags(1 << 15).is_head() && PageFlags(1 << 16).is_tail());
    }
}
