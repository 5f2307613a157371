// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which pages the device can have for itself, and which it cannot.

use crate::words::{page, word};
use farfault_client::{Advice, Error, Failure, Memory, Queue};
use farfault_guest_programs::children::Child;
use farfault_guest_programs::counters::{growth, killed};
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing, memory_file};
use std::sync::atomic::{AtomicU64, Ordering};

/// Has the device add 1 to a word that holds `before`, and says how many pages it took for that.
fn taken_for(
    queue: &mut Queue,
    word: &AtomicU64,
    before: u64,
) -> Result<u64, farfault_guest_programs::Failure> {
    growth("exclusive", || expect_equal("old value", &queue.fetch_add(word, 1)?, &before))
}

pub fn a_page_is_taken_and_given_back() -> Outcome {
    let (_device, mut queue) = device_and_queue()?;
    let region = page()?;
    let word = word(&region, 0);
    for round in 0..3 {
        expect_equal("pages taken", &taken_for(&mut queue, word, 3 * round)?, &1)?;
        expect_equal("pages taken again", &taken_for(&mut queue, word, 3 * round + 1)?, &0)?;
        expect_equal("the CPU's turn", &word.fetch_add(1, Ordering::SeqCst), &(3 * round + 2))?;
    }
    Ok(())
}

/// There is nobody to take it from.
pub fn a_page_of_the_device_is_its_own() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let region = page()?;
    let word = word(&region, 0);
    expect_equal("pages moved", &device.migrate(&region[..], Memory::Device)?, &1)?;
    for before in 0..3 {
        expect_equal("pages taken", &taken_for(&mut queue, word, before)?, &0)?;
    }
    let there = device.snapshot(&region[..])?.iter().all(|page| page.is_in_device());
    expect("it is still there", there)?;
    expect_equal("the CPU's turn", &word.fetch_add(1, Ordering::SeqCst), &3)?;
    expect_equal("pages taken", &taken_for(&mut queue, word, 4)?, &1)
}

pub fn what_is_preferred_there_goes_there() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let region = page()?;
    device.advise(&region[..], Advice::PreferDevice)?;
    expect_equal("pages taken", &taken_for(&mut queue, word(&region, 0), 0)?, &0)?;
    let there = device.snapshot(&region[..])?.iter().all(|page| page.is_in_device());
    expect("it is there", there)
}

/// The rest of it stays with the CPU.
pub fn a_part_of_a_huge_page() -> Outcome {
    let (_device, mut queue) = device_and_queue()?;
    let region = huge_page(0)?;
    let words_of_page = PAGE / 8;
    let (near, far) = (word(&region, words_of_page), word(&region, 2 * words_of_page));
    expect_equal("pages taken", &taken_for(&mut queue, near, 0)?, &1)?;
    far.fetch_add(1, Ordering::SeqCst);
    expect_equal("pages taken again", &taken_for(&mut queue, near, 1)?, &0)?;
    expect_equal("pages taken besides", &taken_for(&mut queue, far, 1)?, &1)?;
    expect_equal("sum", &near.load(Ordering::SeqCst), &2)
}

/// What a private mapping has of its own is as good as any.
pub fn a_file_of_ones_own() -> Outcome {
    let (_device, mut queue) = device_and_queue()?;
    let file = memory_file(2 * PAGE as u64)?;
    let region = Region::of_file(&file, 2 * PAGE, Sharing::Private, Access::Write)?;
    expect_equal("pages taken", &taken_for(&mut queue, word(&region, 0), 0)?, &1)?;
    let shared = Region::of_file(&file, 2 * PAGE, Sharing::Shared, Access::Read)?;
    expect_equal("in the file", &word(&shared, 0).load(Ordering::SeqCst), &0)
}

/// Nothing is lost by it: the device may still write there.
pub fn what_is_shared_cannot_be_had() -> Outcome {
    let (_device, mut queue) = device_and_queue()?;
    let file = memory_file(PAGE as u64)?;
    let of_file = Region::of_file(&file, PAGE, Sharing::Shared, Access::Write)?;
    for mut region in [of_file, Region::shared_anonymous(PAGE)?] {
        let refused = growth("responses_fail_atomic", || {
            let refusal = Failure::NotAtomic { command: "fetch_add", address: region.address() };
            match queue.fetch_add(word(&region, 0), 1) {
                Err(Error::Command(failure)) => expect_equal("refusal", &failure, &refusal),
                other => Err(format!("not refused: {other:?}").into()),
            }
        })?;
        expect_equal("refusals counted", &refused, &1)?;
        queue.fill(&mut region[..], 2_u8)?;
        expect("what the device wrote", region.iter().all(|&byte| byte == 2))?;
    }
    Ok(())
}

pub fn what_cannot_be_written() -> Outcome {
    let (_device, mut queue) = device_and_queue()?;
    let region = page()?;
    let size = region.len();
    region.protect(0, size, Access::Read)?;
    match queue.fetch_add(word(&region, 0), 1) {
        Err(Error::Command(Failure::Refused { address, .. })) => {
            expect_equal("address", &address, &region.address())
        }
        other => Err(format!("not refused: {other:?}").into()),
    }
}

/// A fork takes the page back first.
pub fn parent_and_child_have_their_own() -> Outcome {
    let (_device, mut queue) = device_and_queue()?;
    let region = page()?;
    let word = word(&region, 0);
    expect_equal("pages taken", &taken_for(&mut queue, word, 0)?, &1)?;
    let child = Child::start(|| {
        let (_device, mut queue) = device_and_queue()?;
        for before in 1..4 {
            expect_equal("the child's", &queue.fetch_add(word, 1)?, &before)?;
        }
        Ok(())
    })?;
    expect_equal("the parent's", &queue.fetch_add(word, 10)?, &1)?;
    child.succeed()?;
    expect_equal("in the end", &word.load(Ordering::SeqCst), &11)
}

pub fn an_end_gives_it_back() -> Outcome {
    killed(|reached, never| {
        let (_device, mut queue) = device_and_queue()?;
        let region = page()?;
        queue.fetch_add(word(&region, 0), 1)?;
        reached.reach()?;
        never.wait()
    })
}
