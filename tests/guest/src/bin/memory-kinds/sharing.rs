// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who sees what the device writes, and that reading shares on.

use crate::kinds::{is_read, queue};
use farfault_guest_programs::Failure;
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing, unnamed_file};
use farfault_guest_programs::pagemap::Pagemap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

const PAGES: usize = 8;
const LENGTH: usize = PAGES * PAGE;

/// A file that holds `value`, and bytes read back through `read`.
fn file_of(value: u8) -> Result<File, Failure> {
    let file = unnamed_file(LENGTH as u64)?;
    file.write_all_at(&[value; LENGTH], 0)?;
    Ok(file)
}

fn holds(file: &File, value: u8) -> Result<bool, Failure> {
    let mut bytes = vec![0; LENGTH];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.iter().all(|&byte| byte == value))
}

pub fn shared_file_is_read_back() -> Outcome {
    let file = file_of(1)?;
    let mut region = Region::of_file(&file, LENGTH, Sharing::Shared, Access::Write)?;
    let mut queue = queue()?;
    queue.fill(&mut region, 2)?;
    expect("read() gives what the device wrote", holds(&file, 2)?)?;
    file.write_all_at(&[3; LENGTH], 0)?;
    is_read(&mut queue, &region, "the device reads what write() wrote", 3)?;
    queue.fill(&mut region, 4)?;
    drop(region);
    expect("it stays when the mapping goes", holds(&file, 4)?)
}

pub fn private_file_is_left_alone() -> Outcome {
    let file = file_of(1)?;
    let mut region = Region::of_file(&file, LENGTH, Sharing::Private, Access::Write)?;
    let mut queue = queue()?;
    is_read(&mut queue, &region, "the device reads the file", 1)?;
    queue.fill(&mut region, 2)?;
    expect("the mapping holds what the device wrote", region.iter().all(|&byte| byte == 2))?;
    expect("the file holds what it held", holds(&file, 1)?)
}

pub fn a_child_sees_shared_memory() -> Outcome {
    let mut region = Region::shared_anonymous(LENGTH)?;
    let (written, checked) = (Signpost::new()?, Signpost::new()?);
    let child = {
        let region = &mut region;
        let (written, checked) = (&written, &checked);
        Child::start(move || {
            written.wait()?;
            expect("the child sees it", region.iter().all(|&byte| byte == 5))?;
            region.fill(6);
            checked.reach()
        })?
    };
    let mut queue = queue()?;
    queue.fill(&mut region, 5)?;
    written.reach()?;
    checked.wait()?;
    is_read(&mut queue, &region, "the device sees what the child wrote", 6)?;
    child.succeed()
}

pub fn device_and_cpu_add_to_one_word() -> Outcome {
    const TIMES: u64 = 1000;
    let word = AtomicU64::new(0);
    let add = || -> Outcome {
        let mut queue = queue()?;
        let olds = queue.scope(|s| {
            let mut olds = Vec::new();
            for _ in 0..TIMES {
                olds.push(s.fetch_add(&word, 1)?);
                word.fetch_add(1, Ordering::Relaxed);
            }
            olds.into_iter().map(|old| old.wait()).collect::<Result<Vec<_>, _>>()
        })?;
        expect("a queue's old values rise", olds.windows(2).all(|pair| pair[0] < pair[1]))
    };
    std::thread::scope(|threads| {
        let both = [threads.spawn(add), threads.spawn(add)];
        both.into_iter().try_for_each(|one| one.join().map_err(|_| "a thread panicked")?)
    })?;
    expect_equal("sum", &word.load(Ordering::Relaxed), &(4 * TIMES))
}

/// Page frames behind `region`, in the page table that `pagemap` shows.
fn frames(pagemap: &Pagemap, region: &Region) -> Result<Vec<u64>, Failure> {
    let pages = (0..PAGES).map(|page| region.address() + (page * PAGE) as u64);
    pages.map(|address| Ok(pagemap.entry(address)?.frame())).collect()
}

pub fn reading_maps_the_zero_page() -> Outcome {
    let mut region = Region::small_pages(LENGTH)?;
    let mut queue = queue()?;
    let pagemap = Pagemap::own()?;
    expect_equal("words of nothing", &queue.word_count(&region)?, &1)?;
    let read = frames(&pagemap, &region)?;
    expect("all pages are one, the zero page", read.iter().all(|&frame| frame == read[0]))?;
    expect("and present", pagemap.entry(region.address())?.is_present())?;
    queue.fill(&mut region[..PAGE], 1)?;
    let written = frames(&pagemap, &region)?;
    expect("writing takes a page of its own", written[0] != read[0])?;
    expect_equal("and leaves the others", &written[1..], &read[1..])
}

/// A child that lives until the signpost, and shares `region`.
fn sharer(region: &Region, over: &Signpost) -> Result<Child, Failure> {
    Child::start(|| {
        over.wait()?;
        expect("the child's memory is as it was", region.iter().all(|&byte| byte == 1))
    })
}

pub fn reading_keeps_pages_shared_with_a_child() -> Outcome {
    let mut region = Region::small_pages(LENGTH)?;
    region.fill(1);
    let over = Signpost::new()?;
    let child = sharer(&region, &over)?;
    let mut queue = queue()?;
    let mut copy = vec![0; LENGTH];
    queue.copy(&region, &mut copy)?;
    let (ours, theirs) = (Pagemap::own()?, Pagemap::of(child.id())?);
    let shared = frames(&theirs, &region)?;
    expect_equal("frames of parent and child", &frames(&ours, &region)?, &shared)?;
    expect("they are shared", !ours.entry(region.address())?.is_exclusive())?;
    over.reach()?;
    child.succeed()
}

pub fn writing_parts_them() -> Outcome {
    let mut region = Region::small_pages(LENGTH)?;
    let mut queue = queue()?;
    queue.fill(&mut region, 1)?; // so that the device may write before the fork
    let over = Signpost::new()?;
    let child = sharer(&region, &over)?;
    queue.fill(&mut region[..PAGE], 2)?;
    let (ours, theirs) = (Pagemap::own()?, Pagemap::of(child.id())?);
    let (own, shared) = (frames(&ours, &region)?, frames(&theirs, &region)?);
    expect("the page written is no longer the child's", own[0] != shared[0])?;
    expect_equal("the others still are", &own[1..], &shared[1..])?;
    over.reach()?;
    child.succeed()
}
