// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Swap goes away while pages are on it: all of them are read in.

use crate::kind::{Kind, Set};
use crate::stage::Stage;
use farfault_guest_programs::Failure;
use farfault_guest_programs::setup::{self, ZRAM};
use nix::libc;

pub const KINDS: &[Kind] = &[Kind::new("swapoff", swap_off).halved()];

fn swap_off(salt: u64) -> Result<Set, Failure> {
    setup::swap()?;
    Set::small(salt, swap_off_and_on)?.counted(&["pswpout"])
}

/// MADV_PAGEOUT; and swapoff, which takes far longer, where the change is looked at closely.
fn swap_off_and_on(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let pages = stage.choose();
    stage.arena.advise(pages.clone(), libc::MADV_PAGEOUT)?;
    if !stage.is_close() {
        return Ok(());
    }
    let page = stage.one_of(&pages);
    stage.add(page)?;
    stage.arena.advise(pages, libc::MADV_PAGEOUT)?;
    setup::swap_off(ZRAM)?;
    let seen = stage.probe.seen(0, page);
    setup::swap_on(ZRAM)?;
    seen
}
