// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Changes that the kernel makes by itself: pages move together, and equal ones
//! become one.

use super::advice::discard;
use crate::arena::Backing;
use crate::kind::{Kind, SMALL, Set};
use crate::layout::{self, STAMPS};
use crate::oracle::Ledger;
use crate::stage::{Change, Stage};
use crate::system::{offer_unpoison, unpoison};
use farfault_guest_programs::memory::{MADV_DONTNEED, PAGE, Region};
use farfault_guest_programs::pagemap::Pagemap;
use farfault_guest_programs::{Failure, kernel_files};
use nix::libc;
use std::fs;
use std::ops::Range;

pub const KINDS: &[Kind] = &[
    Kind::new("migration", migrate).halved(),
    Kind::new("compaction", compact).halved(),
    Kind::new("ksm", merge),
];

/// Pages between which compaction finds room, and has something to move: several blocks of
/// 2 MiB, as it moves pages only from one to another.
const SCATTERED: usize = 4096;
/// Changes behind which each begins with pages scattered anew, until some have moved.
const PATIENCE: usize = 40;
/// Changes of which some must have moved pages. Of the 150 that are usual as few as one has, or none.
const ENOUGH: usize = 800;
/// How often a page is asked to move that will not.
const TRIES: usize = 1000;
/// Pages that are merged; they are equal in pairs.
const PAIRS: Range<usize> = SMALL / 2..SMALL;

fn compact(salt: u64) -> Result<Set, Failure> {
    let change =
        Compact { scattered: scattered(false)?, pagemap: Pagemap::own()?, changes: 0, moved: 0 };
    Set::small(salt, change)
}

fn migrate(salt: u64) -> Result<Set, Failure> {
    offer_unpoison()?;
    let pagemap = Pagemap::own()?;
    Set::small(salt, move |stage: &mut Stage<'_>| move_one(stage, &pagemap))?
        .counted(&["pgmigrate_success"])
}

fn merge(salt: u64) -> Result<Set, Failure> {
    let merging = Merging::start()?;
    let ledger = Ledger::new(salt, SMALL).with_calm(PAIRS);
    let change = move |stage: &mut Stage<'_>| write_to_pairs(stage, &merging);
    let set = Set::with(ledger, Backing::Small, SMALL, change)?;
    set.arena.advise(0..SMALL, libc::MADV_MERGEABLE)?;
    set.counted(&["cow_ksm"])
}

/// Every other page of it is a hole. The holes that are made last are filled first: at the end
/// of memory to which compaction moves pages, or, `backwards`, at the end from which it does.
fn scattered(backwards: bool) -> Result<Region, Failure> {
    let mut region = Region::small_pages(SCATTERED * PAGE)?;
    region.fill(1);
    for hole in (0..SCATTERED).step_by(2) {
        let page = if backwards { SCATTERED - 2 - hole } else { hole };
        region.advise_range(page * PAGE, PAGE, MADV_DONTNEED)?;
    }
    Ok(region)
}

/// Compaction of all memory.
struct Compact {
    /// Room for pages to move to, and pages that are in the way.
    scattered: Region,
    pagemap: Pagemap,
    changes: usize,
    /// How often pages that the device uses were among those that moved.
    moved: usize,
}

impl Change for Compact {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        self.changes += 1;
        // Now and then it makes pages move.
        if self.changes % 8 == 1 || (self.moved == 0 && self.changes > PATIENCE) {
            self.scattered = scattered(self.changes % 16 == 1)?;
            // What is touched anew takes the holes.
            discard(stage)?;
        }
        let page = stage.random.below(SMALL);
        stage.add(page)?;
        let frames = || self.pagemap.entries(stage.arena.address(0, 0), SMALL);
        let before = frames()?;
        fs::write("/proc/sys/vm/compact_memory", "1")?;
        let moved = frames()?.iter().zip(before).any(|(now, then)| now.frame() != then.frame());
        self.moved += usize::from(moved);
        stage.probe.seen(0, page)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        println!("# compaction has moved pages of these {} times", self.moved);
        let shown = self.moved > 0 || self.changes < ENOUGH;
        if shown { Ok(()) } else { Err("it must at least once".into()) }
    }
}

/// Migration of a page, whose frame is taken out of use for that, and put back.
fn move_one(stage: &mut Stage<'_>, pagemap: &Pagemap) -> Result<(), Failure> {
    let page = stage.random.below(SMALL);
    stage.add(page)?;
    stage.probe.seen(0, page)?;
    let place = stage.arena.address(0, page);
    let before = pagemap.entry(place)?.frame();
    let address = format!("{:#x}", before * PAGE as u64);
    let mut tries = 0;
    while let Err(error) = fs::write("/sys/devices/system/memory/soft_offline_page", &address) {
        // Somebody else has it in his hands for a moment.
        tries += 1;
        if tries > TRIES {
            return Err(format!("page {page} cannot be moved: {error}").into());
        }
        std::thread::yield_now();
    }
    if pagemap.entry(place)?.frame() == before {
        return Err(format!("page {page} was not moved from its frame").into());
    }
    unpoison(before)?;
    stage.probe.seen(0, page)
}

/// Writes to one of two pages that are equal, by CPU and device.
fn write_to_pairs(stage: &mut Stage<'_>, merging: &Merging) -> Result<(), Failure> {
    let first = PAIRS.start + 2 * stage.random.below(PAIRS.len() / 2);
    let pair = first..first + 2;
    match stage.random.below(16) {
        // Only one of the two may change.
        0..8 => {
            let page = stage.one_of(&pair);
            stage.add(page)?;
            pair.clone().try_for_each(|page| stage.probe.seen(0, page))
        }
        // Equal again, and so to be merged.
        8..15 => {
            stage.ledger.announce(pair.clone());
            for page in pair.clone() {
                let stamp = stage.ledger.stamp(page);
                STAMPS.iter().for_each(|&word| stage.arena.store(page, word, stamp));
                (0..layout::QUEUES).for_each(|q| stage.arena.store(page, layout::sum(q), 0));
            }
            stage.ledger.publish(pair);
            Ok(())
        }
        _ => merging.await_scan(),
    }
}

/// The kernel's thread that merges pages, at work.
struct Merging;

impl Merging {
    const FOLDER: &str = "/sys/kernel/mm/ksm";

    fn set(name: &str, value: &str) -> Result<(), Failure> {
        kernel_files::write(&format!("{}/{name}", Self::FOLDER), value)
    }

    fn start() -> Result<Self, Failure> {
        Self::set("smart_scan", "0")?;
        Self::set("sleep_millisecs", "1")?;
        Self::set("pages_to_scan", "1000")?;
        Self::set("run", "1")?;
        Ok(Self)
    }

    fn scans() -> Result<u64, Failure> {
        kernel_files::number(&format!("{}/full_scans", Self::FOLDER))
    }

    /// Returns when all pages have been looked at twice.
    fn await_scan(&self) -> Result<(), Failure> {
        let first = Self::scans()?;
        while Self::scans()? < first + 3 {
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        // Parts all pages again.
        let _ = Self::set("run", "2");
    }
}
