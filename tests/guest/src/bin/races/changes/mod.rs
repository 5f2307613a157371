// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All changes there are, by name.

mod advice;
mod blocks;
mod files;
mod forks;
mod kernel;
mod mappings;
mod poison;
mod userfaults;

use crate::arena::{Arena, Backing};
use crate::oracle::Ledger;
use crate::stage::Change;
use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE};
use std::sync::Arc;

/// Pages of an arena of small ones.
const SMALL: usize = 32;
/// Pages of an arena that a huge page can be behind.
const LARGE: usize = HUGE_PAGE / PAGE;

/// What a change needs.
pub struct Set {
    pub arena: Arena,
    pub ledger: Arc<Ledger>,
    pub change: Box<dyn Change>,
}

impl Set {
    fn new(
        salt: u64,
        backing: Backing,
        pages: usize,
        change: impl Change + 'static,
    ) -> Result<Self, Failure> {
        Self::with(Ledger::new(salt, pages), backing, pages, change)
    }

    fn with(
        ledger: Ledger,
        backing: Backing,
        pages: usize,
        change: impl Change + 'static,
    ) -> Result<Self, Failure> {
        let arena = Arena::new(backing, pages)?;
        Ok(Self { arena, ledger: Arc::new(ledger), change: Box::new(change) })
    }
}

/// A change in the list.
pub struct Kind {
    pub name: &'static str,
    /// Makes it for the process called as given.
    pub make: fn(u64) -> Result<Set, Failure>,
}

const fn kind(name: &'static str, make: fn(u64) -> Result<Set, Failure>) -> Kind {
    Kind { name, make }
}

pub const KINDS: [Kind; 28] = [
    kind("munmap", mappings::unmap),
    kind("munmap_hugetlb", mappings::unmap_huge),
    kind("map_over", mappings::replace),
    kind("mremap", mappings::relocate),
    kind("mremap_resize", mappings::resize),
    kind("mremap_dontunmap", mappings::keep),
    kind("mprotect_read", mappings::read_only),
    kind("mprotect_none", mappings::no_access),
    kind("fork", forks::fork),
    kind("dontneed", advice::discard),
    kind("free", advice::free),
    kind("pageout", advice::page_out),
    kind("swap_in", advice::swap_in),
    kind("collapse_split", advice::collapse),
    kind("hwpoison", poison::poison),
    kind("private_file", files::private),
    kind("map_over_file", files::replace),
    kind("truncate", files::truncate),
    kind("punch_hole", files::punch),
    kind("truncate_ext4", files::truncate_ext4),
    kind("punch_hole_ext4", files::punch_ext4),
    kind("writeback", files::writeback),
    kind("collapse_range_ext4", blocks::collapse),
    kind("reflink_xfs", blocks::share),
    kind("migration", kernel::migrate),
    kind("compaction", kernel::compact),
    kind("ksm", kernel::merge),
    kind("userfault", userfaults::missing),
];
