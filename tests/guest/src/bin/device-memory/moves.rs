// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages go there and come back, and hold what they held.

use crate::place::{PAGES, seen, there};
use farfault_client::{Device, Memory};
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::device_pages::count_there;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, PAGE, Region};
use std::sync::atomic::{AtomicU64, Ordering};

pub fn what_is_moved_stays_the_same() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let (region, contents) = there(&device, PAGES)?;
    expect("the device reads it", seen(&mut queue, &region)?[..] == contents[..])?;
    expect_equal("pages still there", &count_there(&device, &region)?, &PAGES)?;
    let touched =
        growth("moved_touched", || expect("the CPU reads it", region[..] == contents[..]))?;
    expect_equal("pages that the CPU has brought back", &touched, &(PAGES as u64))?;
    expect_equal("pages left there", &count_there(&device, &region)?, &0)
}

pub fn it_comes_back_when_asked() -> Outcome {
    let device = Device::open()?;
    let (region, contents) = there(&device, PAGES)?;
    let back = &region[PAGE..3 * PAGE];
    expect_equal("pages moved", &device.migrate(back, Memory::System)?, &2)?;
    expect_equal("pages left", &count_there(&device, &region)?, &(PAGES - 2))?;
    let touched =
        growth("moved_touched", || expect("contents", *back == contents[PAGE..3 * PAGE]))?;
    expect_equal("pages that the CPU has brought back", &touched, &0)?;
    let rest = device.migrate(&region[..], Memory::System)?;
    expect_equal("pages moved then", &rest, &(PAGES as u64 - 2))?;
    expect("all is as it was", region[..] == contents[..])
}

pub fn the_device_works_in_its_memory() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let (mut region, contents) = there(&device, PAGES)?;
    queue.fill(&mut region[..PAGE * 2], 7_u8)?;
    let word = AtomicU64::new(0);
    queue.fetch_add(&word, 3)?;
    expect_equal("pages there", &count_there(&device, &region)?, &PAGES)?;
    expect("what it wrote", region[..PAGE * 2].iter().all(|&byte| byte == 7))?;
    expect("and what it did not", region[PAGE * 2..] == contents[PAGE * 2..])?;
    expect_equal("a word elsewhere", &word.load(Ordering::Relaxed), &3)
}

/// Of what is not there nothing comes back, and nothing is made.
pub fn holes_stay_holes() -> Outcome {
    let device = Device::open()?;
    let mut region = Region::small_pages(PAGES * PAGE)?;
    region[..PAGE].fill(1);
    expect_equal("pages moved", &device.migrate(&region[..PAGE], Memory::Device)?, &1)?;
    expect_equal("pages back", &device.migrate(&region[..], Memory::System)?, &1)?;
    let pages = device.snapshot(&region[..])?;
    let there = pages.iter().filter(|page| page.is_readable()).count();
    expect_equal("pages that there are", &there, &1)?;
    expect("as they were", region[..PAGE].iter().all(|&byte| byte == 1))
}

/// The mirror forgets where a page is, and finds it in device memory again; there it cannot be
/// written once it could not be for a while, whatever the mapping allows.
pub fn a_page_can_be_found_there_again() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let (mut region, contents) = there(&device, PAGES)?;
    region.protect(0, region.len(), Access::Read)?;
    region.protect(0, region.len(), Access::Write)?;
    expect("the device reads it", seen(&mut queue, &region)?[..] == contents[..])?;
    expect_equal("pages there", &count_there(&device, &region)?, &PAGES)?;
    let touched = growth("moved_touched", || Ok(queue.fill(&mut region[..], 9_u8)?))?;
    expect_equal("pages brought back to be written", &touched, &(PAGES as u64))?;
    expect("the CPU reads what it wrote", region.iter().all(|&byte| byte == 9))
}

pub fn what_was_never_touched_is_zeroes() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let region = Region::small_pages(PAGES * PAGE)?;
    let moved = device.migrate(&region[..], Memory::Device)?;
    expect_equal("pages moved", &moved, &(PAGES as u64))?;
    expect("the device reads zeroes", seen(&mut queue, &region)?.iter().all(|&byte| byte == 0))?;
    expect("and the CPU does", region.iter().all(|&byte| byte == 0))
}
