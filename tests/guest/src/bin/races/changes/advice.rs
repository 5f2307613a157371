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
pub const DISCARD: Kind = Kind::new("dontneed", |salt| Set::small(salt, discard)).halved();
pub const PAGE_OUT: Kind = Kind::new("pageout", |salt| swapped(salt, page_out)).halved();

pub const KINDS: &[Kind] = &[
    DISCARD,
    Kind::new("free", |salt| Set::small(salt, free)),
    PAGE_OUT,
    Kind::new("swap_in", |salt| swapped(salt, swap_in)).halved(),
    Kind::new("collapse_split", collapse_and_split),
];

fn swapped(salt: u64, change: impl Change + 'static) -> Result<Set, Failure> {
    setup::swap()?;
    Set::small(salt, change)?.counted(&["pswpout", "pswpin"])
}

/// MADV_COLLAPSE to a huge page, and the next time a change of some of it, by which it
/// is split.
fn collapse_and_split(salt: u64) -> Result<Set, Failure> {
    let mut collapsed = false;
    let change = move |stage: &mut Stage<'_>| {
        collapsed = !collapsed;
        if collapsed { collapse(stage) } else { split(stage) }
    };
    Set::new(salt, Backing::Collapsible, LARGE, change)?
        .counted(&["thp_collapse_alloc", "thp_split_pmd"])
}

/// MADV_DONTNEED.
pub fn discard(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    stage.ledger.announce(pages.clone());
    stage.arena.advise(pages.clone(), libc::MADV_DONTNEED)?;
    stage.fill(&pages)
}

/// MADV_FREE: what the device writes afterwards must survive reclaim.
fn free(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    stage.ledger.announce(pages.clone());
    stage.arena.advise(pages.clone(), libc::MADV_FREE)?;
    // What was there before may still be.
    stage.overwrite(&pages)?;
    stage.arena.advise(pages.clone(), libc::MADV_PAGEOUT)?;
    stage.read(0, pages)
}

/// MADV_PAGEOUT to swap, and back in by the device: for reading, then writing.
fn page_out(stage: &mut Stage<'_>) -> Result<(), Failure> {
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

/// MADV_PAGEOUT to swap, and back in by the CPU: for reading, then the device writes.
fn swap_in(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    stage.arena.advise(pages.clone(), libc::MADV_PAGEOUT)?;
    let page = stage.one_of(&pages);
    stage.probe.seen(0, page)?;
    stage.add(page)?;
    // What is clean is dropped, as it is still in swap.
    stage.arena.advise(page..page + 1, libc::MADV_PAGEOUT)?;
    stage.probe.seen(0, page)
}

fn collapse(stage: &mut Stage<'_>) -> Result<(), Failure> {
    match stage.arena.advise(0..LARGE, libc::MADV_COLLAPSE) {
        // The kernel may decline, as pages are in use by somebody for a moment.
        Ok(()) | Err(Errno::EAGAIN | Errno::EBUSY | Errno::ENOMEM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn split(stage: &mut Stage<'_>) -> Result<(), Failure> {
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
