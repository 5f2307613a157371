// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device sees after something else came to lie at an address.

use crate::kinds::{is_read, queue};
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, MADV_DONTNEED, PAGE, Region, Sharing, unnamed_file};

const LENGTH: usize = 16 * PAGE;

pub fn discarded_memory_is_zero() -> Outcome {
    let mut region = Region::small_pages(LENGTH)?;
    let mut copy = vec![0; LENGTH];
    let mut queue = queue()?;
    queue.fill(&mut region, 1)?;
    region.advise_range(PAGE, 2 * PAGE, MADV_DONTNEED)?;
    queue.copy(&region, &mut copy)?;
    let zeros = PAGE..3 * PAGE;
    let right = |(place, byte): (usize, &u8)| *byte == u8::from(!zeros.contains(&place));
    expect("zeros where it was discarded", copy.iter().enumerate().all(right))
}

pub fn moved_memory_is_found() -> Outcome {
    let mut region = Region::small_pages(LENGTH)?;
    let mut queue = queue()?;
    for value in 1..=8 {
        queue.fill(&mut region, value)?;
        region.relocate()?;
        is_read(&mut queue, &region, "what was written at the old place", value)?;
    }
    Ok(())
}

pub fn replaced_memory_is_seen() -> Outcome {
    let mut queue = queue()?;
    let mut reused = 0;
    let mut last = 0;
    for value in 1..=16 {
        // The kernel puts a mapping where one of the same size has just gone.
        let mut region = Region::small_pages(LENGTH)?;
        reused += u32::from(region.address() == last);
        last = region.address();
        is_read(&mut queue, &region, "new memory is zero", 0)?;
        queue.fill(&mut region, value)?;
        expect("the CPU sees what the device wrote", region.iter().all(|&byte| byte == value))?;
    }
    expect("addresses came again", reused > 0)
}

pub fn truncated_file_comes_back_empty() -> Outcome {
    let file = unnamed_file(LENGTH as u64)?;
    let mut region = Region::of_file(&file, LENGTH, Sharing::Shared, Access::Write)?;
    let mut queue = queue()?;
    queue.fill(&mut region, 1)?;
    file.set_len(0)?;
    file.set_len(LENGTH as u64)?;
    is_read(&mut queue, &region, "zeros where the file was cut off", 0)
}

pub fn prefetched_memory_does_not_fault() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    queue.nop()?; // the ring's own faults
    let mut region = Region::small_pages(LENGTH)?;
    device.prefetch_mut(&mut region)?;
    let faults = growth("faults", || Ok(queue.fill(&mut region, 1)?))?;
    expect_equal("far faults", &faults, &0)?;
    expect("the CPU sees what the device wrote", region.iter().all(|&byte| byte == 1))
}

pub fn prefetched_for_reading_is_not_writable() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    queue.nop()?; // the ring's own faults
    let mut region = Region::small_pages(LENGTH)?;
    device.prefetch(&region)?;
    let words = || expect_equal("words of nothing", &queue.word_count(&region)?, &1);
    expect_equal("far faults of reading", &growth("faults", words)?, &0)?;
    let faults = growth("faults", || Ok(queue.fill(&mut region, 1)?))?;
    expect("writing faults", faults > 0)?;
    expect("the CPU sees what the device wrote", region.iter().all(|&byte| byte == 1))
}
