// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a kind of change is, and what one needs.

use crate::arena::{Arena, Backing};
use crate::oracle::Ledger;
use crate::stage::Change;
use crate::system::Vmstat;
use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE};
use std::sync::Arc;

/// Pages of an arena of small ones.
pub const SMALL: usize = 32;
/// Pages of an arena that a huge page can be behind.
pub const LARGE: usize = HUGE_PAGE / PAGE;

/// What a change needs.
pub struct Set {
    pub arena: Arena,
    pub ledger: Arc<Ledger>,
    pub change: Box<dyn Change>,
    /// What the kernel must have counted once it is over.
    pub counted: Vmstat,
}

impl Set {
    /// Small pages of private memory.
    pub fn small(salt: u64, change: impl Change + 'static) -> Result<Self, Failure> {
        Self::new(salt, Backing::Small, SMALL, change)
    }

    pub fn new(
        salt: u64,
        backing: Backing,
        pages: usize,
        change: impl Change + 'static,
    ) -> Result<Self, Failure> {
        Self::with(Ledger::new(salt, pages), backing, pages, change)
    }

    pub fn with(
        ledger: Ledger,
        backing: Backing,
        pages: usize,
        change: impl Change + 'static,
    ) -> Result<Self, Failure> {
        let arena = Arena::new(backing, pages)?;
        let counted = Vmstat::default();
        Ok(Self { arena, ledger: Arc::new(ledger), change: Box::new(change), counted })
    }

    /// The same if these counters of /proc/vmstat have moved when it is over.
    pub fn counted(self, names: &[&'static str]) -> Result<Self, Failure> {
        Ok(Self { counted: Vmstat::of(names)?, ..self })
    }
}

/// A kind of change. Each file of `changes` says which it has.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// A group does it half as often as others: it has a twin that does the same to
    /// other memory, or in another way.
    pub halved: bool,
    /// Makes it for the process called as given.
    pub make: fn(u64) -> Result<Set, Failure>,
}

impl Kind {
    pub const fn new(name: &'static str, make: fn(u64) -> Result<Set, Failure>) -> Self {
        Self { name, halved: false, make }
    }

    pub const fn halved(self) -> Self {
        Self { halved: true, ..self }
    }
}
