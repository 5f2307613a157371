// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `costs`: between its marks it submits commands, has the device fault, and takes memory away
//! from it, each so often, and nothing else. What that costs is counted outside.

use farfault_client::{Device, Queue};
use farfault_guest_programs::memory::{HUGE_PAGE, MADV_DONTNEED, PAGE, Region};
use farfault_guest_programs::program::{Program, Summary};
use farfault_guest_programs::{Failure, marks, views};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;

const PROGRAM: Program = Program {
    name: "costs",
    usage: "",
    about: "Submits 64 commands, has 64 of them fault, and takes 64 pages away.",
};
/// The harness divides by it.
const TIMES: usize = 64;

fn main() -> ExitCode {
    PROGRAM.run(|_| Ok(()), |()| work())
}

fn work() -> Result<Summary, Failure> {
    let mut queue = Device::open()?.queue(16)?;
    // A word in a stretch of 2 MiB of its own: no fault can be for two of them.
    let mut region = Region::small_pages(TIMES * HUGE_PAGE)?;
    let words = views::atomics(&mut region[..]);
    let first_of = |index: usize| &words[index * HUGE_PAGE / size_of::<AtomicU64>()];
    let warm = AtomicU64::new(0);
    add(&mut queue, &warm)?;
    marks::mark("begun")?;
    (0..TIMES).try_for_each(|_| add(&mut queue, &warm))?;
    marks::mark("submitted")?;
    (0..TIMES).try_for_each(|index| add(&mut queue, first_of(index)))?;
    marks::mark("faulted")?;
    for index in 0..TIMES {
        region.advise_range(index * HUGE_PAGE, PAGE, MADV_DONTNEED)?;
    }
    marks::mark("invalidated")?;
    Ok(Summary::new(true).with("times", TIMES))
}

/// One command, without an interrupt at its end.
fn add(queue: &mut Queue, word: &AtomicU64) -> Result<(), Failure> {
    queue.scope(|s| {
        let done = s.fetch_add(word, 1)?;
        while !done.is_done() {
            std::hint::spin_loop();
        }
        Ok(())
    })?;
    Ok(())
}
