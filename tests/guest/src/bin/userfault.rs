// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `userfault [TEST…]`: the device works on memory whose pages a userfaultfd
//! handler brings. Prints KTAP.

use farfault_client::{Advice, Device, Queue};
use farfault_guest_programs::children::{Child, Signpost, end_thread, exit_now};
use farfault_guest_programs::counters::{self, growth, killed};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{self, Access, PAGE, Region, Sharing};
use farfault_guest_programs::userfault::{Mode, Userfault, served};
use farfault_guest_programs::{Failure, device_and_queue, test_program};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

test_program![
    pages_that_come_late,
    only_the_page_in_need_is_asked_for,
    missing_pages_are_written,
    prefetch_waits_for_the_handler,
    prefetch_of_what_is_partly_the_handlers,
    prefetch_of_what_cannot_be_read_is_refused,
    advice_asks_no_handler,
    pages_of_a_file_are_mapped_late,
    protected_pages_are_read_and_written,
    killed_while_it_waits,
    exits_while_it_waits,
    last_thread_exits_while_it_waits,
    last_thread_exits_though_the_handler_stays,
];

/// Pages that a test has its device go through.
const PAGES: usize = 40;
const BYTES: usize = PAGES * PAGE;

/// What page `index` holds once it has come.
fn contents(index: usize) -> [u8; PAGE] {
    std::array::from_fn(|i| (index * 7 + i * 3 + i / 256) as u8)
}

fn all_contents() -> Vec<u8> {
    (0..PAGES).flat_map(contents).collect()
}

/// Answers `count` requests for pages from `start` on, in whatever order they are made.
fn bring(userfault: &Userfault, start: u64, count: usize) -> Result<Vec<u64>, Failure> {
    let mut asked = Vec::new();
    for _ in 0..count {
        let page = userfault.next()?;
        asked.push(page);
        // Late: the device has all the time to run into the page again.
        thread::yield_now();
        userfault.bring(page, &contents((page - start) as usize / PAGE))?;
    }
    Ok(asked)
}

/// Does `work` while a thread answers `count` requests; gives the pages that were asked for.
/// The thread is left alone if the work fails: nobody may ask it any more.
fn with_handler(
    region: &Region,
    count: usize,
    work: impl FnOnce() -> Outcome,
) -> Result<Vec<u64>, Failure> {
    let userfault = Userfault::open()?;
    let start = region.address();
    userfault.register(start, region.len(), Mode::Missing)?;
    let handler = thread::spawn(move || bring(&userfault, start, count));
    work()?;
    handler.join().map_err(|_| "the handler panicked")?
}

/// Post-copy: each page comes when the device needs it, once.
fn pages_that_come_late() -> Outcome {
    let source = Region::small_pages(BYTES)?;
    let mut destination = vec![0; BYTES];
    let mut queue = Device::open()?.queue(16)?;
    let before = counters::get("userfaults")?;
    let asked = with_handler(&source, PAGES, || Ok(queue.copy(&source, &mut destination)?))?;
    let expected: Vec<u64> = (0..PAGES).map(|i| source.address() + (i * PAGE) as u64).collect();
    expect_equal("pages asked for", &asked, &expected)?;
    expect("the device read what came", destination == all_contents())?;
    expect_equal("counted", &(counters::get("userfaults")? - before), &(PAGES as u64))
}

fn only_the_page_in_need_is_asked_for() -> Outcome {
    let region = Region::small_pages(BYTES)?;
    let mut queue = Device::open()?.queue(16)?;
    let page = &region[3 * PAGE..4 * PAGE];
    let mut destination = vec![0; PAGE];
    let asked = with_handler(&region, 1, || Ok(queue.copy(page, &mut destination)?))?;
    expect_equal("pages asked for", &asked, &vec![region.address() + 3 * PAGE as u64])?;
    expect("the device read what came", destination == contents(3))
}

fn missing_pages_are_written() -> Outcome {
    let (mut region, userfault) = Userfault::missing(BYTES)?;
    let start = region.address();
    let mut queue = Device::open()?.queue(16)?;
    // All but the ends of the outer pages.
    let fill = || Ok(queue.fill(&mut region[100..BYTES - 100], 0x5a_u8)?);
    served(|| bring(&userfault, start, PAGES), fill)?;
    let mut expected = all_contents();
    expected[100..BYTES - 100].fill(0x5a);
    expect("written over what came", region[..] == expected[..])
}

fn is_read_without_a_fault(queue: &mut Queue, region: &Region, copy: &mut [u8]) -> Outcome {
    let faults = growth("faults", || Ok(queue.copy(region, copy)?))?;
    expect("the device read what came", *copy == *all_contents())?;
    expect_equal("faults after a prefetch", &faults, &0)
}

fn prefetch_waits_for_the_handler() -> Outcome {
    let region = Region::small_pages(BYTES)?;
    let (device, mut queue) = device_and_queue()?;
    let mut destination = vec![0; BYTES];
    queue.fill(&mut destination, 0_u8)?;
    with_handler(&region, PAGES, || Ok(device.prefetch(&region[..])?))?;
    is_read_without_a_fault(&mut queue, &region, &mut destination)
}

/// Pages of its own and pages of a handler, in one span of the driver's.
fn prefetch_of_what_is_partly_the_handlers() -> Outcome {
    const OWN: usize = BYTES / 2;
    let mut region = Region::small_pages(BYTES)?;
    region[..OWN].copy_from_slice(&all_contents()[..OWN]);
    let start = region.address();
    let userfault = Userfault::open()?;
    userfault.register(start + OWN as u64, BYTES - OWN, Mode::Missing)?;
    let (device, mut queue) = device_and_queue()?;
    let mut destination = vec![0; BYTES];
    queue.fill(&mut destination, 0_u8)?;
    let serve = || bring(&userfault, start, PAGES / 2);
    let asked = served(serve, || Ok(device.prefetch(&region[..])?))?;
    expect(
        "only the handler's were asked for",
        asked.iter().all(|page| page - start >= OWN as u64),
    )?;
    is_read_without_a_fault(&mut queue, &region, &mut destination)
}

/// The handler could bring pages for ever, and still nothing could be read there.
fn prefetch_of_what_cannot_be_read_is_refused() -> Outcome {
    let (mut region, userfault) = Userfault::missing(PAGE)?;
    userfault.bring(region.address(), &contents(0))?;
    region.protect(0, PAGE, Access::WriteOnly)?;
    let refused = Device::open()?.prefetch_mut(&mut region[..]);
    let refused = refused.err().map(|error| error.to_string());
    expect_equal("refusal", &refused.as_deref(), &Some("ioctl PREFETCH: EFAULT: Bad address"))
}

/// It takes what is there, and what the handler of a protected region is not needed for.
fn advice_asks_no_handler() -> Outcome {
    let (region, userfault) = Userfault::missing(BYTES)?;
    let there = 3 * PAGE..4 * PAGE;
    userfault.bring(region.address() + there.start as u64, &contents(3))?;
    let protected = Region::small_pages(PAGE)?;
    userfault.register(protected.address(), PAGE, Mode::WriteProtected)?;
    let (device, mut queue) = device_and_queue()?;
    let mut copy = vec![0; PAGE];
    queue.fill(&mut copy, 1_u8)?;
    let advise = || {
        device.advise(&region[..], Advice::WillRead)?;
        Ok(device.advise(&protected[..], Advice::WillRead)?)
    };
    expect_equal("pages asked for", &growth("userfaults", advise)?, &0)?;
    for (page, expected) in [(&region[there], contents(3)), (&protected[..], [0; PAGE])] {
        let faults = growth("faults", || Ok(queue.copy(page, &mut copy)?))?;
        expect("the device read what was there", copy == expected)?;
        expect_equal("faults after the advice", &faults, &0)?;
    }
    Ok(())
}

fn pages_of_a_file_are_mapped_late() -> Outcome {
    let file = memory::memory_file(BYTES as u64)?;
    let mut writer = Region::of_file(&file, BYTES, Sharing::Shared, Access::Write)?;
    writer.copy_from_slice(&all_contents());
    let reader = Region::of_file(&file, BYTES, Sharing::Shared, Access::Write)?;
    let userfault = Userfault::open()?;
    userfault.register(reader.address(), BYTES, Mode::Minor)?;
    let mut destination = vec![0; BYTES];
    let mut queue = Device::open()?.queue(16)?;
    let map = || (0..PAGES).try_for_each(|_| Ok(userfault.map(userfault.next()?)?));
    served(map, || Ok(queue.copy(&reader[..], &mut destination)?))?;
    expect("the device read the file", destination == all_contents())
}

fn protected_pages_are_read_and_written() -> Outcome {
    let mut region = Region::small_pages(BYTES)?;
    region.copy_from_slice(&all_contents());
    let start = region.address();
    let userfault = Userfault::open()?;
    userfault.register(start, BYTES, Mode::WriteProtected)?;
    userfault.protect(start, BYTES, true)?;
    let mut destination = vec![0; BYTES];
    let mut queue = Device::open()?.queue(16)?;
    queue.copy(&region[..], &mut destination)?;
    expect("reading needs no handler", destination == all_contents())?;

    let written = 2 * PAGE..5 * PAGE;
    let allow = || {
        let mut asked = Vec::new();
        for _ in 0..3 {
            let page = userfault.next()?;
            asked.push((page - start) / PAGE as u64);
            userfault.protect(page, PAGE, false)?;
        }
        Ok(asked)
    };
    let asked = served(allow, || Ok(queue.fill(&mut region[written.clone()], 0x33_u8)?))?;
    expect_equal("pages asked for", &asked, &vec![2, 3, 4])?;
    let mut expected = all_contents();
    expected[written].fill(0x33);
    expect("written where it was allowed", region[..] == expected[..])
}

/// A child whose device waits for a handler that never answers. `then` is called
/// once the handler has been asked.
fn child_that_waits(then: impl FnOnce()) -> Outcome {
    let (region, userfault) = Userfault::missing(PAGE)?;
    wait_for(&region, &userfault, then)
}

fn wait_for(region: &Region, userfault: &Userfault, then: impl FnOnce()) -> Outcome {
    let mut queue = Device::open()?.queue(16)?;
    let word = AtomicU64::new(0);
    let mut destination = vec![0; PAGE];
    queue.scope(|scope| {
        let _ = scope.fetch_add(&word, 1)?;
        let _ = scope.copy(&region[..], &mut destination)?;
        while userfault.next().is_err() {}
        assert_eq!(word.load(Ordering::Acquire), 1, "the command before it has ended");
        then();
        Ok(())
    })?;
    Err("the command ended although nobody brought its page".into())
}

fn killed_while_it_waits() -> Outcome {
    killed(|asked, _| {
        child_that_waits(|| {
            let _ = asked.reach();
        })
    })
}

fn exits_while_it_waits() -> Outcome {
    Child::start(|| child_that_waits(|| exit_now(0)))?.succeed()
}

/// With plain exit, as under strict seccomp, nobody tells the driver's thread of
/// the process to end. But descriptors are closed, that of the handler among them.
fn last_thread_exits_while_it_waits() -> Outcome {
    Child::start(|| child_that_waits(|| end_thread(0)))?.succeed()
}

/// Here another process has the handler, too, which thus does not end: it is the driver
/// that has to give the page up.
fn last_thread_exits_though_the_handler_stays() -> Outcome {
    let over = Signpost::new()?;
    Child::start(|| {
        let (region, userfault) = Userfault::missing(PAGE)?;
        // Forked before the device is opened, it keeps nothing else.
        mem::forget(Child::start(|| over.wait())?);
        wait_for(&region, &userfault, || end_thread(0))
    })?
    .succeed()?;
    over.reach()
}
