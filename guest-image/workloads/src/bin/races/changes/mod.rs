// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All changes there are, by name.

mod advice;
mod files;
mod forks;
mod kernel;
mod mappings;
mod userfaults;

use crate::arena::{Arena, Backing};
use crate::oracle::Ledger;
use crate::stage::Change;
use farfault_workloads::Failure;
use farfault_workloads::memory::{HUGE_PAGE, PAGE};
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
    /// It is so dear that of N changes asked for N / cost are done.
    pub cost: u64,
}

const fn kind(name: &'static str, cost: u64, make: fn(u64) -> Result<Set, Failure>) -> Kind {
    Kind { name, make, cost }
}

pub const KINDS: [Kind; 20] = [
    kind("munmap", 1, mappings::unmap),
    kind("map_over", 1, mappings::replace),
    kind("mremap", 1, mappings::relocate),
    kind("mremap_dontunmap", 1, mappings::keep),
    kind("mprotect_read", 1, mappings::read_only),
    kind("mprotect_none", 1, mappings::no_access),
    kind("fork", 8, forks::fork),
    kind("dontneed", 1, advice::discard),
    kind("free", 1, advice::free),
    kind("pageout", 1, advice::page_out),
    kind("collapse_split", 4, advice::collapse),
    kind("private_file", 1, files::private),
    kind("truncate", 1, files::truncate),
    kind("punch_hole", 1, files::punch),
    kind("truncate_ext4", 1, files::truncate_ext4),
    kind("punch_hole_ext4", 1, files::punch_ext4),
    kind("writeback", 2, files::writeback),
    kind("compaction", 8, kernel::compact),
    kind("ksm", 1, kernel::merge),
    kind("userfault", 1, userfaults::missing),
];
