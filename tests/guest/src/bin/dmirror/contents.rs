// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device reads and writes, and what it costs in faults.

use farfault_guest_programs::dmirror::{Done, Node, numbered, pages};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, MADV_DONTNEED, PAGE, Region, Sharing};
use std::thread;

/// The driver works through a buffer of 64 pages.
pub fn lengths_around_the_buffer() -> Outcome {
    let node = Node::open(0)?;
    for (npages, seed) in [1, 2, 63, 64, 65, 128, 129, 1000].into_iter().zip(1..) {
        let data = numbered(npages, seed)?;
        let mut region = Region::anonymous(npages * PAGE)?;
        let mut back = Region::anonymous(npages * PAGE)?;
        let all = npages as u64;
        expect_equal("written", &node.write(&mut region, &data)?.pages, &all)?;
        expect(&format!("{npages} pages are written"), region[..] == data[..])?;
        expect_equal("read", &node.read(&region, &mut back)?.pages, &all)?;
        expect(&format!("{npages} pages are read"), back[..] == data[..])?;
    }
    Ok(())
}

pub fn one_round_of_faults() -> Outcome {
    let node = Node::open(0)?;
    for npages in [1, 2, 256, 257, 512, 1024, 8192] {
        let data = Region::small_pages(npages * PAGE)?;
        let mut region = Region::small_pages(npages * PAGE)?;
        let once = Ok(Done { pages: npages as u64, faults: 1 });
        expect_equal("fresh", &node.write(&mut region, &data), &once)?;
        region.advise(MADV_DONTNEED)?;
        expect_equal("given back, then wanted again", &node.write(&mut region, &data), &once)?;
    }
    Ok(())
}

pub fn what_is_mapped_needs_no_fault() -> Outcome {
    let node = Node::open(0)?;
    let mut region = numbered(300, 1)?;
    let mut back = Region::small_pages(300 * PAGE)?;
    let count = |faults| Done { pages: 300, faults };
    expect_equal("first", &node.read(&region, &mut back)?, &count(1))?;
    expect_equal("again", &node.read(&region, &mut back)?, &count(0))?;
    // The CPU has written these, so they are mapped for writing.
    expect_equal("written", &node.write(&mut region, &back)?, &count(0))?;
    Ok(())
}

/// Pages that belong to no file.
pub fn a_mapping_of_the_node() -> Outcome {
    let node = Node::open(0)?;
    for sharing in [Sharing::Shared, Sharing::Private] {
        let mut region = Region::of_file(&node.0, 3 * PAGE, sharing, Access::Write)?;
        let mut back = Region::anonymous(3 * PAGE)?;
        let data = numbered(3, 2)?;
        node.read(&region, &mut back)?;
        expect("they are zero at first", back.iter().all(|&byte| byte == 0))?;
        node.write(&mut region, &data)?;
        expect(&format!("{sharing:?}: written"), region[..] == data[..])?;
        node.read(&region, &mut back)?;
        expect(&format!("{sharing:?}: read"), back[..] == data[..])?;
    }
    Ok(())
}

pub fn two_nodes() -> Outcome {
    let (first, second) = (Node::open(0)?, Node::open(1)?);
    let mut region = Region::small_pages(100 * PAGE)?;
    let mut back = Region::small_pages(100 * PAGE)?;
    for seed in 1..10 {
        let data = numbered(100, seed)?;
        first.write(&mut region, &data)?;
        second.read(&region, &mut back)?;
        expect("the second reads what the first wrote", back[..] == data[..])?;
    }
    Ok(())
}

pub fn threads_share_a_file() -> Outcome {
    let node = Node::open(0)?;
    let work = |seed: u64| -> Outcome {
        let mut region = Region::small_pages(200 * PAGE)?;
        let mut back = Region::small_pages(200 * PAGE)?;
        for round in 0..20 {
            let data = numbered(200, seed * 100 + round)?;
            expect_equal("written", &node.write(&mut region, &data)?.pages, &pages(&data))?;
            node.read(&region, &mut back)?;
            expect("a thread reads what it wrote", back[..] == data[..])?;
            region.advise(MADV_DONTNEED)?;
        }
        Ok(())
    };
    let ended: Vec<Outcome> = thread::scope(|threads| {
        let workers: Vec<_> = (1..5).map(|seed| threads.spawn(move || work(seed))).collect();
        let panicked = |_| Err("a thread panicked".into());
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(panicked)).collect()
    });
    ended.into_iter().collect()
}
