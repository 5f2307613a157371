// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `leaves [TEST…]`: memory that lies together is one leaf for the device, whatever
//! entries the CPU maps it by, and what is taken from such a leaf is taken alone.
//! Prints KTAP.

use farfault_client::{Advice, Device};
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, HUGE_PAGE, MADV_DONTNEED, PAGE, Region};
use farfault_guest_programs::{Failure, device_and_queue, test_program};

test_program![
    a_huge_page_is_one_leaf,
    small_entries_that_lie_together,
    halves_are_joined,
    pages_apart_are_not,
    one_page_taken_leaves_the_rest,
    half_given_up_leaves_the_rest,
    one_page_made_writable,
    every_page_is_marked_dirty,
];

const PAGES: usize = HUGE_PAGE / PAGE;

/// A huge page that the CPU maps page by page.
fn together(value: u8) -> Result<Region, Failure> {
    let region = huge_page(value)?;
    region.protect(5 * PAGE, PAGE, Access::Read)?;
    region.protect(5 * PAGE, PAGE, Access::Write)?;
    let large = Device::open()?.snapshot(&region[..])?.iter().any(|page| page.is_large());
    expect("the CPU maps it page by page", !large)?;
    Ok(region)
}

fn mirrored(device: &Device, region: &Region) -> Result<Vec<bool>, Failure> {
    Ok(device.snapshot(&region[..])?.iter().map(|page| page.is_mirrored()).collect())
}

fn a_huge_page_is_one_leaf() -> Outcome {
    let mut region = huge_page(1)?;
    let device = Device::open()?;
    let leaves = growth("leaves_2m", || Ok(device.prefetch_mut(&mut region[..])?))?;
    expect_equal("2 MiB leaves", &leaves, &1)
}

fn small_entries_that_lie_together() -> Outcome {
    let mut region = together(1)?;
    let (device, mut queue) = device_and_queue()?;
    queue.nop()?;
    let leaves = growth("leaves_2m", || Ok(queue.fill(&mut region[..], 2_u8)?))?;
    expect_equal("2 MiB leaves", &leaves, &1)?;
    expect("all of it is mirrored", mirrored(&device, &region)?.iter().all(|&page| page))?;
    expect("and written", region.iter().all(|&byte| byte == 2))
}

fn halves_are_joined() -> Outcome {
    let mut region = together(1)?;
    let (device, mut queue) = device_and_queue()?;
    let (low, high) = region.split_at_mut(HUGE_PAGE / 2);
    device.prefetch_mut(low)?;
    let joined = growth("leaves_joined", || Ok(device.prefetch_mut(high)?))?;
    expect_equal("joined leaves", &joined, &1)?;
    let faults = growth("faults", || {
        queue.fill(low, 3_u8)?;
        Ok(queue.fill(high, 4_u8)?)
    })?;
    expect("only the queue's own memory faults", faults <= 2)?;
    let (low, high) = region.split_at(HUGE_PAGE / 2);
    expect("written", low.iter().all(|&byte| byte == 3) && high.iter().all(|&byte| byte == 4))
}

fn pages_apart_are_not() -> Outcome {
    let region = together(1)?;
    // Another page takes the place of this one.
    region.advise_range(9 * PAGE, PAGE, MADV_DONTNEED)?;
    let mut region = region;
    let device = Device::open()?;
    let leaves = growth("leaves_2m", || Ok(device.prefetch_mut(&mut region[..])?))?;
    expect_equal("2 MiB leaves", &leaves, &0)?;
    expect_equal("the new page", &region[9 * PAGE], &0)
}

fn one_page_taken_leaves_the_rest() -> Outcome {
    let mut region = together(1)?;
    let (device, mut queue) = device_and_queue()?;
    let mut copy = vec![0_u8; HUGE_PAGE];
    queue.fill(&mut copy, 9_u8)?;
    queue.fill(&mut region[..], 2_u8)?;
    let split =
        growth("leaves_split", || Ok(region.advise_range(7 * PAGE, PAGE, MADV_DONTNEED)?))?;
    expect_equal("leaves split", &split, &1)?;
    let expected: Vec<bool> = (0..PAGES).map(|page| page != 7).collect();
    expect("the rest is mirrored", mirrored(&device, &region)? == expected)?;
    let faults = growth("faults", || Ok(queue.copy(&region[..], &mut copy)?))?;
    expect_equal("faults", &faults, &1)?;
    let right = |page: usize| if page == 7 { 0 } else { 2 };
    expect("the device reads what is there", {
        copy.chunks(PAGE).enumerate().all(|(i, page)| page.iter().all(|&b| b == right(i)))
    })
}

fn half_given_up_leaves_the_rest() -> Outcome {
    let mut region = huge_page(1)?;
    let (device, mut queue) = device_and_queue()?;
    queue.fill(&mut region[..], 2_u8)?;
    device.advise(&region[..HUGE_PAGE / 2], Advice::DontNeed)?;
    let expected: Vec<bool> = (0..PAGES).map(|page| page >= PAGES / 2).collect();
    expect("the upper half is mirrored", mirrored(&device, &region)? == expected)?;
    let faults = growth("faults", || Ok(queue.fill(&mut region[HUGE_PAGE / 2..], 3_u8)?))?;
    expect_equal("faults on the upper half", &faults, &0)?;
    queue.fill(&mut region[..HUGE_PAGE / 2], 4_u8)?;
    let (low, high) = region.split_at(HUGE_PAGE / 2);
    expect("written", low.iter().all(|&byte| byte == 4) && high.iter().all(|&byte| byte == 3))
}

/// After a fork pages are there to be read only; once the child is gone a write
/// makes just the page that it goes to writable again.
fn one_page_made_writable() -> Outcome {
    let mut region = together(1)?;
    let go = Signpost::new()?;
    let child = Child::start(|| go.wait())?;
    go.reach()?;
    child.succeed()?;
    let (device, mut queue) = device_and_queue()?;
    let mut copy = vec![0_u8; HUGE_PAGE];
    queue.copy(&region[..], &mut copy)?;
    expect("mirrored for reading", mirrored(&device, &region)?.iter().all(|&page| page))?;
    let split = growth("leaves_split", || Ok(queue.fill(&mut region[100..200], 5_u8)?))?;
    expect_equal("leaves split", &split, &1)?;
    expect("written", region[100..200].iter().all(|&byte| byte == 5))?;
    expect("and nothing else", region[..100].iter().chain(&region[200..]).all(|&b| b == 1))?;
    expect("the rest is mirrored", mirrored(&device, &region)?.iter().all(|&page| page))
}

fn every_page_is_marked_dirty() -> Outcome {
    let mut region = together(1)?;
    let device = Device::open()?;
    device.prefetch_mut(&mut region[..])?;
    let dirtied = growth("pages_dirtied", || Ok(device.advise(&region[..], Advice::DontNeed)?))?;
    expect_equal("pages marked dirty", &dirtied, &(PAGES as u64))
}
