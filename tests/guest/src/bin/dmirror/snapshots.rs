// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Snapshots: how the CPU maps a range, without a fault.

use farfault_guest_programs::dmirror::{Node, numbered};
use farfault_guest_programs::ktap::{Outcome, Skip, expect, expect_equal};
use farfault_guest_programs::memory::{Access, HUGE_PAGE, PAGE, Region, allow_huge_pages};
use farfault_guest_programs::pagemap::Pagemap;

const NONE: u8 = 0x00;
const READ: u8 = 0x01;
const WRITE: u8 = 0x02;
const PMD: u8 = 0x04;
const ZERO: u8 = 0x10;
const ERROR: u8 = 0xff;

/// The selftest's case, as far as it needs no device memory.
pub fn every_kind_of_page() -> Outcome {
    let node = Node::open(0)?;
    let region = numbered(7, 1)?;
    region.protect(0, PAGE, Access::None)?;
    region.punch(PAGE, PAGE)?;
    region.protect(2 * PAGE, PAGE, Access::Read)?;
    region.advise_range(2 * PAGE, PAGE, farfault_guest_programs::memory::MADV_DONTNEED)?;
    expect_equal("a byte that nobody wrote", &region[2 * PAGE], &0)?;
    region.protect(3 * PAGE, PAGE, Access::Read)?;
    region.advise_range(5 * PAGE, PAGE, farfault_guest_programs::memory::MADV_DONTNEED)?;
    let found = node.snapshot(region.address(), 7)?;
    expect_equal("bytes", &found[..], &[ERROR, ERROR, ZERO | READ, READ, WRITE, NONE, WRITE])
}

pub fn large_pages() -> Outcome {
    allow_huge_pages()?;
    let node = Node::open(0)?;
    let mut region = Region::huge_pages(HUGE_PAGE)?;
    region.fill(1);
    let found = node.snapshot(region.address(), HUGE_PAGE / PAGE)?;
    if found[0] == WRITE {
        return Err(Box::new(Skip("the kernel had no huge page".to_owned())));
    }
    expect("all of a huge page", found.iter().all(|&byte| byte == WRITE | PMD))?;
    region.protect(0, HUGE_PAGE, Access::Read)?;
    let found = node.snapshot(region.address(), HUGE_PAGE / PAGE)?;
    expect("the same, not to be written", found.iter().all(|&byte| byte == READ | PMD))?;
    region.protect(0, PAGE, Access::Write)?;
    let found = node.snapshot(region.address(), 2)?;
    expect("it is split", found[0] & PMD == 0 && found[1] == READ)
}

pub fn nothing_is_faulted_in() -> Outcome {
    let node = Node::open(0)?;
    let region = Region::small_pages(600 * PAGE)?;
    let found = node.snapshot(region.address(), 600)?;
    expect("nothing is there", found.iter().all(|&byte| byte == NONE))?;
    let pagemap = Pagemap::own()?;
    for page in 0..600 {
        let entry = pagemap.entry(region.address() + page * PAGE as u64)?;
        expect(&format!("page {page} is still missing"), !entry.is_present())?;
    }
    Ok(())
}

pub fn more_than_one_call() -> Outcome {
    let node = Node::open(0)?;
    let mut region = Region::small_pages(1500 * PAGE)?;
    for page in (0..1500).step_by(3) {
        region[page * PAGE] = 1;
    }
    let found = node.snapshot(region.address(), 1500)?;
    let wanted: Vec<u8> = (0..1500).map(|page| if page % 3 == 0 { WRITE } else { NONE }).collect();
    expect("every third page", found == wanted)
}
