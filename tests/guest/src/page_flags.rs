// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel says of a page frame, from `/proc/kpageflags`.
#![allow(missing_docs, reason = "flags are named as in linux/kernel-page-flags.h")]

use crate::Failure;
use std::fs::File;
use std::os::unix::fs::FileExt;

pub const KPF_DIRTY: u32 = 4;
pub const KPF_WRITEBACK: u32 = 8;
pub const KPF_ANON: u32 = 12;
pub const KPF_SWAPCACHE: u32 = 13;
pub const KPF_COMPOUND_HEAD: u32 = 15;
pub const KPF_COMPOUND_TAIL: u32 = 16;

/// Flags of a frame (Documentation/admin-guide/mm/pagemap.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFlags(u64);

impl PageFlags {
    /// Whether this one is set.
    pub fn has(self, flag: u32) -> bool {
        self.0 >> flag & 1 == 1
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
        assert!(clean.has(KPF_SWAPCACHE) && !clean.has(KPF_DIRTY) && !clean.has(KPF_WRITEBACK));
        assert!(PageFlags(1 << 4).has(KPF_DIRTY) && PageFlags(1 << 8).has(KPF_WRITEBACK));
        assert!(PageFlags(1 << 12).has(KPF_ANON) && !clean.has(KPF_ANON));
        assert!(PageFlags(1 << 15).has(KPF_COMPOUND_HEAD));
        assert!(PageFlags(1 << 16).has(KPF_COMPOUND_TAIL));
    }
}
