// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Children that share all pages until somebody writes: parent, child, or the
//! device for either.
#![allow(unsafe_code, reason = "gives the device addresses of the arena")]

use crate::arena::Arena;
use crate::kind::{Kind, SMALL, Set};
use crate::layout::{self, QUEUES, STAMPS};
use crate::oracle::Finding;
use crate::stage::Stage;
use farfault_client::raw::descriptor as abi;
use farfault_guest_programs::children::Child;
use farfault_guest_programs::commands;
use farfault_guest_programs::ktap::Outcome;
use farfault_guest_programs::raw_queue::{self, RawQueue};

/// Those that processes do, too.
pub const FORK: Kind = Kind::new("fork", |salt| Set::small(salt, fork));

pub const KINDS: &[Kind] = &[FORK];

/// Children at once, at most.
const MOST: usize = 3;
/// How often a child looks at its pages.
const LOOKS: usize = 4;
/// What a child writes, and a parent would find if the pages were not parted.
const ELSE: u64 = u64::MAX / 2;

fn fork(stage: &mut Stage<'_>) -> Outcome {
    let page = stage.random.below(SMALL);
    stage.add(page)?;
    let sum = stage.arena.load(0, page, layout::sum(QUEUES - 1))?;
    stage.probe.seen(0, page)?;
    let (arena, stamp) = (stage.arena, stage.ledger.stamp(page));
    if !stage.is_close() {
        let child = Child::start(|| {
            check(arena, page, stamp, sum)?;
            arena.store(page, layout::sum(QUEUES - 1), ELSE);
            Ok(())
        })?;
        stage.arena.store(page, layout::WORDS / 2 + 1, sum);
        child.succeed()?;
        return stage.probe.seen(0, page);
    }
    let children: Result<Vec<_>, _> = (0..1 + stage.random.below(MOST))
        .map(|_| {
            let with_device = stage.random.below(4) == 0;
            Child::start(|| live(arena, page, stamp, sum, with_device))
        })
        .collect();
    let children = children?;
    stage.add(page)?;
    stage.arena.store(page, layout::WORDS / 2 + 1, sum);
    children.into_iter().try_for_each(Child::succeed)?;
    stage.probe.seen(0, page)
}

/// In a child: a page is as it was at the fork, whatever the device does for the parent.
fn check(arena: &Arena, page: usize, stamp: u64, sum: u64) -> Outcome {
    let own = layout::sum(QUEUES - 1);
    let find = |kind, text: String| Err(Finding::new(kind, page, text).into());
    if arena.peek(page, own) != sum {
        let found = arena.peek(page, own);
        let kind = if found < sum { "LOST" } else { "STALE" };
        return find(kind, format!("in a forked child: expected a sum of {sum}, found {found}"));
    }
    if let Some(word) = STAMPS.into_iter().find(|&word| arena.peek(page, word) != stamp) {
        let found = arena.peek(page, word);
        return find("STALE", format!("in a forked child: expected {stamp:#x}, found {found:#x}"));
    }
    Ok(())
}

/// A child that goes on looking for a while, and then writes to all pages.
fn live(arena: &Arena, page: usize, stamp: u64, sum: u64, with_device: bool) -> Outcome {
    let own = layout::sum(QUEUES - 1);
    let words = || -> [u64; SMALL * QUEUES] {
        std::array::from_fn(|i| arena.peek(i / QUEUES, layout::sum(i % QUEUES)))
    };
    let first = words();
    check(arena, page, stamp, sum)?;
    for _ in 0..LOOKS {
        std::thread::yield_now();
        let now = words();
        if let Some(i) = (0..first.len()).find(|&i| now[i] != first[i]) {
            let (page, queue) = (i / QUEUES, i % QUEUES);
            let text = format!("a forked child sees what queue {queue} wrote for its parent");
            return Err(Finding::new("STALE", page, text).into());
        }
    }
    (0..SMALL).for_each(|page| arena.store(page, own, ELSE));
    if with_device { add_once(arena, page, own) } else { Ok(()) }
}

fn add_once(arena: &Arena, page: usize, word: usize) -> Outcome {
    let device = raw_queue::open()?;
    let mut queue = RawQueue::new(&device, 4)?;
    let before = arena.peek(page, word);
    let command = commands::add(arena.address(0, page) + word as u64 * 8, 1);
    // SAFETY: the arena is borrowed by nobody.
    let completion = unsafe { queue.run(command) }?;
    let after = arena.peek(page, word);
    if (completion.status, completion.result, after) == (abi::STATUS_OK, before, before + 1) {
        return Ok(());
    }
    let text = format!("an atomic for a forked child: {before} became {after}, {completion:?}");
    Err(Finding::new("LOST", page, text).into())
}
