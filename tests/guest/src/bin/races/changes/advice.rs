// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Changes that madvise brings about.

use crate::arena::Backing;
use crate::kind::{Kind, LARGE, Set};
use crate::oracle::Right;
use crate::stage::{Change, Stage};
use farfault_guest_programs::memory::Access;
use farfault_guest_programs::{Failure, setup};
use nix::errno::Errno;
use nix::libc;

/// Those that processes do, too.
pub const DISCARD: Kind = Kind::of_pages("dontneed", |salt| Set::small(salt, Discard)).halved();
pub const PAGE_OUT: Kind = Kind::of_pages("pageout", |salt| swapped(salt, PageOut)).halved();

pub const KINDS: &[Kind] = &[
    DISCARD,
    Kind::of_pages("free", |salt| Set::small(salt, Free)),
    PAGE_OUT,
    Kind::of_pages("swap_in", |salt| swapped(salt, SwapIn)).halved(),
    Kind::of_pages("collapse_split", collapse),
];

fn swapped(salt: u64, change: impl Change + 'static) -> Result<Set, Failure> {
    setup::swap()?;
    Set::small(salt, change)?.counted(&["pswpout", "pswpin"])
}

fn collapse(salt: u64) -> Result<Set, Failure> {
    let change = Collapse { collapsed: false };
    Set::new(salt, Backing::Collapsible, LARGE, change)?
        .counted(&["thp_collapse_alloc", "thp_split_pmd"])
}

/// MADV_DONTNEED.
struct Discard;

impl Change for Discard {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let pages = stage.choose();
        stage.ledger.announce(pages.clone());
        stage.arena.advise(pages.clone(), libc::MADV_DONTNEED)?;
        stage.fill(&pages)
    }
}

/// MADV_FREE: what the device writes afterwards must survive reclaim.
struct Free;

impl Change for Free {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let pages = stage.choose();
        stage.ledger.announce(pages.clone());
        stage.arena.advise(pages.clone(), libc::MADV_FREE)?;
        // What was there before may still be.
        stage.overwrite(&pages)?;
        stage.arena.advise(pages.clone(), libc::MADV_PAGEOUT)?;
        stage.read(0, pages)
    }
}

/// MADV_PAGEOUT to swap, and back in by the device: for reading, then writing.
struct PageOut;

impl Change for PageOut {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let pages = stage.choose();
        stage.arena.advise(pages.clone(), libc::MADV_PAGEOUT)?;
        if !stage.is_close() {
            return Ok(());
        }
        let page = stage.one_of(&pages);
        if stage.random.below(2) == 0 {
            stage.read(0, page..page + 1)?;
        }
        stage.add(page)?;
        stage.arena.advise(page..page + 1, libc::MADV_PAGEOUT)?;
        stage.probe.seen(0, page)
    }
}

/// MADV_PAGEOUT to swap, and back in by the CPU: for reading, then the device writes.
struct SwapIn;

impl Change for SwapIn {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let pages = stage.choose();
        stage.arena.advise(pages.clone(), libc::MADV_PAGEOUT)?;
        let page = stage.one_of(&pages);
        stage.probe.seen(0, page)?;
        stage.add(page)?;
        // What is clean is dropped, as it is still in swap.
        stage.arena.advise(page..page + 1, libc::MADV_PAGEOUT)?;
        stage.probe.seen(0, page)
    }
}

/// MADV_COLLAPSE to a huge page, and the next time a change of some of it, by which it
/// is split.
struct Collapse {
    collapsed: bool,
}

impl Change for Collapse {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        self.collapsed = !self.collapsed;
        if self.collapsed {
            return match stage.arena.advise(0..LARGE, libc::MADV_COLLAPSE) {
                // The kernel may decline, as pages are in use by somebody for a moment.
                Ok(()) | Err(Errno::EAGAIN | Errno::EBUSY | Errno::ENOMEM) => Ok(()),
                Err(errno) => Err(errno.into()),
            };
        }
        let mut pages = stage.choose();
        pages.start += usize::from(pages.len() == LARGE);
        if stage.random.below(2) == 0 {
            stage.ledger.set_rights(0, pages.clone(), Right::Allowed, Right::Changing);
            stage.arena.protect(pages.clone(), Access::Read)?;
            stage.arena.protect(pages.clone(), Access::Write)?;
            stage.rights(&pages, Right::Allowed);
            return Ok(());
        }
        stage.ledger.announce(pages.clone());
        stage.rights(&pages, Right::Changing);
        stage.arena.unmap(0, pages.clone())?;
        stage.arena.map(pages.clone(), false)?;
        stage.rights(&pages, Right::Allowed);
        stage.fill(&pages)
    }
}
