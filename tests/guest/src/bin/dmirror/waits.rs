// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands whose faults wait for a userfaultfd handler, for a time or for ever.

use farfault_guest_programs::counters::killed;
use farfault_guest_programs::dmirror::{Done, Node, numbered};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::userfault::{Userfault, served};
use std::thread;

/// All of them are asked for in the one round that a command may take.
pub fn pages_that_come_late() -> Outcome {
    let node = Node::open(0)?;
    let (region, userfault) = Userfault::missing(100 * PAGE)?;
    let data = numbered(100, 1)?;
    let mut back = Region::small_pages(100 * PAGE)?;
    let start = region.address();
    let pages: Vec<[u8; PAGE]> =
        data.chunks_exact(PAGE).filter_map(|p| p.try_into().ok()).collect();
    let bring = || {
        for _ in &pages {
            let asked = userfault.next()?;
            let index = (asked - start) as usize / PAGE;
            let page = pages.get(index).ok_or("a page was asked for that is none")?;
            userfault.bring(asked, page)?;
        }
        Ok(())
    };
    let once = Done { pages: 100, faults: 1 };
    served(bring, || expect_equal("done", &node.read(&region, &mut back)?, &once))?;
    expect("what came was read", back[..] == data[..])
}

pub fn killed_while_a_fault_waits() -> Outcome {
    killed(|asked, _| {
        let node = Node::open(0)?;
        let (region, userfault) = Userfault::missing(3 * PAGE)?;
        let mut back = Region::small_pages(3 * PAGE)?;
        thread::scope(|threads| {
            threads.spawn(|| -> Outcome {
                userfault.next()?;
                asked.reach()
            });
            node.read(&region, &mut back) // nobody answers
        })?;
        Err("a page came that nobody brought".into())
    })?;
    Node::open(0)?.still_works()
}
