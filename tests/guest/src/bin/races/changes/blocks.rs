// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Changes of which blocks a file consists of.

use super::files::{allocate, file, punch_hole};
use crate::arena::Backing;
use crate::kind::{Kind, SMALL, Set};
use crate::layout::{self, QUEUES, WORDS};
use crate::oracle::{Finding, Right};
use crate::stage::Stage;
use crate::system::{ext4, xfs};
use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::{PAGE, file_in};
use farfault_guest_programs::reflink::reflink;
use nix::fcntl::FallocateFlags;
use nix::libc;
use std::fs::File;
use std::os::unix::fs::FileExt;

pub const KINDS: &[Kind] =
    &[Kind::new("collapse_range_ext4", on_ext4), Kind::new("reflink_xfs", on_xfs)];

/// Bytes of a file; the last page is not mapped, as a collapse must end before the end.
const LENGTH: u64 = ((SMALL + 1) * PAGE) as u64;

fn on_ext4(salt: u64) -> Result<Set, Failure> {
    let backing = Backing::File(file_in(ext4()?, LENGTH)?, libc::MAP_SHARED);
    Set::new(salt, backing, SMALL, collapse)
}

fn on_xfs(salt: u64) -> Result<Set, Failure> {
    let backing = Backing::File(file_in(xfs()?, LENGTH)?, libc::MAP_SHARED);
    let clone = file_in(xfs()?, LENGTH)?;
    Set::new(salt, backing, SMALL, move |stage: &mut Stage<'_>| share(stage, &clone))
}

/// A part of the file is taken out, and what is behind it follows. That is empty then:
/// no page may be found to have been another.
fn collapse(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let part = stage.choose();
    let pages = part.start..SMALL;
    let file = file(stage)?;
    stage.ledger.announce(pages.clone());
    stage.rights(&pages, Right::Changing);
    punch_hole(file, &pages)?;
    allocate(file, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, &part)?;
    file.set_len(LENGTH)?;
    stage.rights(&pages, Right::Allowed);
    // The queues may have written to what has moved.
    stage.overwrite(&pages)
}

/// The file's blocks are shared with another one, until somebody writes.
fn share(stage: &mut Stage<'_>, clone: &File) -> Result<(), Failure> {
    let page = stage.random.below(SMALL);
    let own = layout::sum(QUEUES - 1);
    stage.add(page)?;
    let sum = stage.arena.load(0, page, own)?;
    reflink(file(stage)?, clone)?;
    stage.add(page)?;
    stage.arena.store(page, WORDS / 2 + 1, sum);
    let mut bytes = [0; 8];
    clone.read_exact_at(&mut bytes, (page * PAGE + own * 8) as u64)?;
    let found = u64::from_ne_bytes(bytes);
    if found != sum {
        let kind = if found < sum { "LOST" } else { "STALE" };
        let text = format!("in a clone of the file: expected a sum of {sum}, found {found}");
        return Err(Finding::new(kind, page, text).into());
    }
    stage.probe.seen(0, page)
}
