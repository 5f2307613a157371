// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Changes of what is mapped where, and how.

use crate::arena::Backing;
use crate::kind::{Kind, LARGE, SMALL, Set};
use crate::layout::{STAMPS, WORDS};
use crate::oracle::{Finding, Ledger, Right};
use crate::stage::{Change, Stage};
use crate::system::keep_huge_pages;
use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::Access;
use std::ops::Range;

/// Those that processes do, too.
pub const UNMAP: Kind = Kind::new("munmap", |salt| Set::small(salt, unmap)).halved();
pub const RELOCATE: Kind = Kind::new("mremap", relocate);

pub const KINDS: &[Kind] = &[
    UNMAP,
    Kind::new("munmap_hugetlb", unmap_huge).halved(),
    Kind::new("map_over", |salt| Set::small(salt, map_over)).halved(),
    RELOCATE,
    Kind::new("mremap_resize", |salt| Set::small(salt, resize)),
    Kind::new("mremap_dontunmap", |salt| Set::small(salt, keep)),
    Kind::new("mprotect_read", |salt| Set::small(salt, Protect(Access::Read))).halved(),
    Kind::new("mprotect_none", |salt| Set::small(salt, Protect(Access::None))).halved(),
];

/// Pages that move together: no more than one mapping.
const BLOCK: usize = 8;
/// Huge pages that are taken in turn.
const HUGE_PAGES: usize = 2;

fn relocate(salt: u64) -> Result<Set, Failure> {
    let ledger = Ledger::new(salt, SMALL).at_all_places();
    let mut places = [0; SMALL / BLOCK];
    let change = move |stage: &mut Stage<'_>| back_and_forth(stage, &mut places);
    Set::with(ledger, Backing::Small, SMALL, change)
}

fn unmap_huge(salt: u64) -> Result<Set, Failure> {
    keep_huge_pages()?;
    Set::new(salt, Backing::Hugetlb, HUGE_PAGES * LARGE, unmap_huge_page)
}

/// munmap, then mmap.
fn unmap(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    unmap_and_map(stage, pages)
}

fn unmap_and_map(stage: &mut Stage<'_>, pages: Range<usize>) -> Result<(), Failure> {
    let arena = stage.arena;
    let unmap = || Ok(arena.unmap(0, pages.clone())?);
    stage.without(&pages, unmap, || Ok(arena.map(pages.clone(), false)?))
}

/// mremap to fewer pages, and then to all again.
fn resize(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let start = stage.choose().start.max(1);
    let arena = stage.arena;
    let shrink = || Ok(arena.resize(SMALL, start)?);
    stage.without(&(start..SMALL), shrink, || Ok(arena.resize(start, SMALL)?))
}

/// munmap of a huge page of hugetlbfs, then mmap.
fn unmap_huge_page(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let first = stage.random.below(HUGE_PAGES) * LARGE;
    unmap_and_map(stage, first..first + LARGE)
}

/// mmap over what is there: at no time is there nothing.
fn map_over(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    stage.ledger.announce(pages.clone());
    stage.arena.map(pages.clone(), true)?;
    stage.fill(&pages)
}

/// mremap back and forth; `places` are where the blocks are.
fn back_and_forth(stage: &mut Stage<'_>, places: &mut [usize]) -> Result<(), Failure> {
    let block = stage.random.below(places.len());
    let pages = block * BLOCK..(block + 1) * BLOCK;
    let from = places[block];
    let set = |place, right| stage.ledger.set_rights(place, pages.clone(), right, right);
    set(from, Right::Changing);
    set(1 - from, Right::Changing);
    stage.arena.relocate(from, pages.clone(), false)?;
    set(from, Right::Denied);
    set(1 - from, Right::Allowed);
    places[block] = 1 - from;
    stage.expect_refused(from, &pages)?;
    stage.read(1 - from, pages)
}

/// mremap that leaves empty pages, which fill anew; what was moved keeps still.
fn keep(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let block = stage.random.below(SMALL / BLOCK);
    let pages = block * BLOCK..(block + 1) * BLOCK;
    let page = stage.one_of(&pages);
    stage.add(page)?;
    // At the other place this generation stays as long as it is looked at.
    let old = stage.ledger.stamp(page);
    stage.probe.seen(0, page)?;
    stage.ledger.announce(pages.clone());
    stage.ledger.set_rights(1, pages.clone(), Right::Changing, Right::Changing);
    stage.arena.relocate(0, pages.clone(), true)?;
    let first = stage.arena.load_page(1, page)?;
    for word in STAMPS {
        if first[word] != old {
            let text = format!("moved away: expected {old:#x}, found {:#x}", first[word]);
            return Err(Finding::new("LOST", page, text).into());
        }
    }
    stage.fill(&pages)?;
    let second = stage.arena.load_page(1, page)?;
    if let Some(word) = (0..WORDS).find(|&word| first[word] != second[word]) {
        let text = format!(
            "word {word} of a page that was moved away changed from {:#x} to {:#x}",
            first[word], second[word]
        );
        return Err(Finding::new("STALE", page, text).into());
    }
    stage.arena.unmap(1, pages.clone())?;
    stage.ledger.set_rights(1, pages.clone(), Right::Denied, Right::Denied);
    Ok(())
}

/// mprotect, there and back.
struct Protect(Access);

impl Change for Protect {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let pages = stage.choose();
        let read = if self.0 == Access::Read { Right::Allowed } else { Right::Denied };
        let meanwhile = if read == Right::Allowed { read } else { Right::Changing };
        let page = stage.one_of(&pages);
        stage.add(page)?;
        stage.ledger.set_rights(0, pages.clone(), meanwhile, Right::Changing);
        stage.arena.protect(pages.clone(), self.0)?;
        stage.ledger.set_rights(0, pages.clone(), read, Right::Denied);
        stage.add(page)?;
        stage.read(0, page..page + 1)?;
        stage.ledger.set_rights(0, pages.clone(), meanwhile, Right::Changing);
        stage.arena.protect(pages.clone(), Access::Write)?;
        stage.rights(&pages, Right::Allowed);
        Ok(())
    }
}
