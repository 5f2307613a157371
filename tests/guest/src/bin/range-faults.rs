// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `range-faults [TEST…]`: the driver asks `hmm_range_fault()` in the fashion that fits:
//! page by page for what the device has faulted on, by default flags for what is
//! fetched ahead. Prints KTAP.

use farfault_client::Device;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE, Region};
use farfault_guest_programs::{Failure, counters, device_and_queue, test_program};

test_program![faults_are_asked_page_by_page, a_prefetch_is_asked_by_default_flags,];

/// What is touched: some whole spans of 2 MiB.
const SPANS: usize = 3;
const PAGES: u64 = (SPANS * HUGE_PAGE / PAGE) as u64;

/// Calls that asked page by page, calls that asked by default flags, and pages of both.
fn calls(work: impl FnOnce() -> Outcome) -> Result<[u64; 3], Failure> {
    let read = || -> Result<[u64; 3], Failure> {
        Ok([
            counters::get("range_fault_masked")?,
            counters::get("range_fault_default")?,
            counters::get("range_fault_pages")?,
        ])
    };
    let before = read()?;
    work()?;
    let after = read()?;
    Ok([after[0] - before[0], after[1] - before[1], after[2] - before[2]])
}

fn faults_are_asked_page_by_page() -> Outcome {
    let mut region = Region::small_pages(SPANS * HUGE_PAGE)?;
    let mut queue = Device::open()?.queue(16)?;
    queue.nop()?; // the queue's own pages are not counted
    let faults = counters::get("faults")?;
    let [masked, default, pages] = calls(|| Ok(queue.fill(&mut region[..], 3_u8)?))?;
    expect("the device has faulted", counters::get("faults")? > faults)?;
    expect_equal("calls by default flags", &default, &0)?;
    expect(&format!("{masked} calls page by page, about one a span"), {
        // The region need not begin with a span, and the completion has a page.
        (SPANS as u64..=SPANS as u64 + 2).contains(&masked)
    })?;
    expect(&format!("{pages} pages asked for"), (PAGES..=PAGES + 1).contains(&pages))?;
    expect("written", region.iter().all(|&byte| byte == 3))
}

fn a_prefetch_is_asked_by_default_flags() -> Outcome {
    let mut region = Region::small_pages(SPANS * HUGE_PAGE)?;
    let (device, mut queue) = device_and_queue()?;
    queue.fill(&mut [0_u8; 8], 1)?; // as above, and the completion's
    let [masked, default, pages] = calls(|| Ok(device.prefetch_mut(&mut region[..])?))?;
    expect_equal("calls page by page", &masked, &0)?;
    expect(&format!("{default} calls by default flags, one a span"), {
        (SPANS as u64..=SPANS as u64 + 1).contains(&default)
    })?;
    expect_equal("pages asked for", &pages, &PAGES)?;
    let again = calls(|| Ok(queue.fill(&mut region[..], 4_u8)?))?;
    expect_equal("calls for what was fetched", &again, &[0, 0, 0])?;
    expect("written", region.iter().all(|&byte| byte == 4))
}
