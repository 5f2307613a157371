// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `device-private [TEST…]`: memory that another driver has moved to its device is not
//! for ours to reach: each access brings it back first. Prints KTAP; the other driver is
//! the kernel's module `test_hmm`, which must be loaded.

use farfault_client::{Advice, Device, Page};
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::dmirror::{Node, numbered, pages};
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE, Region};
use farfault_guest_programs::pagemap::Pagemap;
use farfault_guest_programs::{Failure, device_and_queue, test_program, views};

test_program![
    a_snapshot_does_not_see_it,
    a_snapshot_sees_one_page_of_many,
    reading_brings_it_back,
    writing_a_part_keeps_the_rest,
    adding_brings_it_back,
    a_prefetch_brings_it_back,
    advice_brings_it_back,
    what_our_device_has_can_be_taken,
    a_huge_page_comes_back,
];

const PAGES: usize = 24;
const BYTES: usize = PAGES * PAGE;
const SEED: u64 = 9;

/// Moves `region` to the memory of the other device, where `contents` are found.
fn take(region: &Region, contents: &[u8]) -> Result<Node, Failure> {
    let node = Node::open(0)?;
    let mut there = Region::anonymous(region.len())?;
    let done = node.take(region, &mut there)?;
    expect_equal("pages moved", &done.pages, &pages(region))?;
    expect("the other device has them", there[..] == *contents)?;
    let away = Pagemap::own()?.entries(region.address(), region.len() / PAGE)?;
    expect("the CPU maps none of them", away.iter().all(|page| !page.is_present()))?;
    Ok(node)
}

/// Pages that are with the other device, and what is in them. They stay there as long
/// as the node is open and nobody wants them.
fn away() -> Result<(Region, Node, Region), Failure> {
    let (region, contents) = (numbered(PAGES, SEED)?, numbered(PAGES, SEED)?);
    let node = take(&region, &contents)?;
    Ok((region, node, contents))
}

fn none_refused(work: impl FnOnce() -> Outcome) -> Outcome {
    expect_equal("faults refused", &growth("responses_fail", work)?, &0)
}

/// The pages are in memory, all of them, and nothing that our device wanted was refused.
fn is_back(region: &Region, work: impl FnOnce() -> Outcome) -> Outcome {
    none_refused(work)?;
    let here = Pagemap::own()?.entries(region.address(), region.len() / PAGE)?;
    expect("all of it is back", here.iter().all(|page| page.is_present()))
}

/// As if nothing were there: what another driver owns is not for ours to see.
fn are_not_there(found: &[Page]) -> Outcome {
    are_not_shown(found)?;
    expect("no error is shown", !found.iter().any(|page| page.is_error()))
}

fn are_not_shown(found: &[Page]) -> Outcome {
    let wanted = |page: &Page| {
        !page.is_readable() && !page.is_writable() && !page.is_zero_page() && !page.is_mirrored()
    };
    let shown = found.iter().position(|page| !wanted(page));
    expect_equal("first page that is shown", &shown, &None)
}

/// These are ordinary pages.
fn are_here(found: &[Page]) -> Outcome {
    expect(&format!("all are here: {found:?}"), found.iter().all(|page| page.is_readable()))
}

fn a_snapshot_does_not_see_it() -> Outcome {
    let (region, _node, contents) = away()?;
    let device = Device::open()?;
    are_not_there(&device.snapshot(&region[..])?)?;
    let after = Pagemap::own()?.entries(region.address(), PAGES)?;
    expect("and looking has not changed that", after.iter().all(|page| !page.is_present()))?;
    expect("the CPU gets it back", region[..] == contents[..])?;
    are_here(&device.snapshot(&region[..])?)
}

fn a_snapshot_sees_one_page_of_many() -> Outcome {
    let (region, _node, contents) = away()?;
    let back = PAGES / 2;
    expect_equal("a byte", &region[back * PAGE], &contents[back * PAGE])?;
    let found = Device::open()?.snapshot(&region[..])?;
    are_not_there(&found[..back])?;
    are_here(&found[back..=back])?;
    are_not_there(&found[back + 1..])
}

fn reading_brings_it_back() -> Outcome {
    let (region, _node, contents) = away()?;
    let mut copy = vec![0_u8; BYTES];
    let mut queue = Device::open()?.queue(16)?;
    is_back(&region, || Ok(queue.copy(&region[..], &mut copy)?))?;
    expect("the device reads what was there", copy[..] == contents[..])?;
    expect("and the CPU", region[..] == contents[..])
}

fn writing_a_part_keeps_the_rest() -> Outcome {
    let (mut region, _node, mut contents) = away()?;
    let part = PAGE / 2..BYTES - PAGE / 2;
    let place = region.address();
    let mut queue = Device::open()?.queue(16)?;
    none_refused(|| Ok(queue.fill(&mut region[part.clone()], 7_u8)?))?;
    let here = Pagemap::own()?.entries(place, PAGES)?;
    expect("all of it is back", here.iter().all(|page| page.is_present()))?;
    contents[part].fill(7);
    expect("the CPU sees both", region[..] == contents[..])
}

fn adding_brings_it_back() -> Outcome {
    let (mut region, _node, mut contents) = away()?;
    let mut queue = Device::open()?.queue(16)?;
    let words = PAGE / 8;
    for (index, word) in views::atomics(&mut region).iter().enumerate().step_by(words) {
        let before = queue.fetch_add(word, 1 << 50)?;
        let old = &mut views::words_mut(&mut contents)[index];
        expect_equal("the old value", &before, old)?;
        *old += 1 << 50;
    }
    expect("the CPU sees the sums", region[..] == contents[..])
}

fn a_prefetch_brings_it_back() -> Outcome {
    let (region, _node, contents) = away()?;
    let device = Device::open()?;
    is_back(&region, || Ok(device.prefetch(&region[..])?))?;
    let found = device.snapshot(&region[..])?;
    expect("our device has it", found.iter().all(|page| page.is_mirrored()))?;
    expect("the CPU reads what was there", region[..] == contents[..])
}

fn advice_brings_it_back() -> Outcome {
    let (region, _node, contents) = away()?;
    let device = Device::open()?;
    is_back(&region, || Ok(device.advise(&region[..], Advice::WillWrite)?))?;
    expect("the CPU reads what was there", region[..] == contents[..])
}

/// The move takes pages out of our mirror, with what our device has written.
fn what_our_device_has_can_be_taken() -> Outcome {
    let mut region = numbered(PAGES, SEED)?;
    let (device, mut queue) = device_and_queue()?;
    queue.fill(&mut region[..], 5_u8)?;
    expect("our device has it", device.snapshot(&region[..])?.iter().all(|p| p.is_mirrored()))?;
    let _node = take(&region, &[5; BYTES])?;
    are_not_there(&device.snapshot(&region[..])?)?;
    let mut copy = vec![0_u8; BYTES];
    is_back(&region, || Ok(queue.copy(&region[..], &mut copy)?))?;
    expect("and reads what it had written", copy.iter().all(|&byte| byte == 5))
}

fn a_huge_page_comes_back() -> Outcome {
    let mut region = huge_page(0)?;
    let mut contents = numbered(HUGE_PAGE / PAGE, SEED)?;
    region.copy_from_slice(&contents);
    let device = Device::open()?;
    let _node = take(&region, &contents)?;
    // Of a whole huge page that is another's, HMM says that it is an error.
    are_not_shown(&device.snapshot(&region[..])?)?;
    let mut queue = device.queue(16)?;
    contents[PAGE / 2..PAGE].fill(6);
    let mut copy = vec![0_u8; HUGE_PAGE];
    none_refused(|| {
        queue.fill(&mut region[PAGE / 2..PAGE], 6_u8)?;
        Ok(queue.copy(&region[..], &mut copy)?)
    })?;
    expect("the device reads all of it", copy[..] == contents[..])?;
    expect("and the CPU", region[..] == contents[..])
}
