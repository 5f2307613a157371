// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Huge pages, as a whole and in parts.

use crate::place::huge_there;
use farfault_client::Device;
use farfault_guest_programs::counters::{await_gauges, gauges, growth};
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::device_pages::count_there;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, HUGE_PAGE, PAGE};

pub fn a_huge_page_moves_as_one() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let mut region = huge_there(&device, 3)?;
    let leaves = growth("leaves_2m", || Ok(queue.fill(&mut region[PAGE..], 4_u8)?))?;
    expect_equal("2 MiB leaves", &leaves, &1)?;
    let copies = growth("copies", || expect("one byte", region[0] == 3))?;
    expect_equal("copies", &copies, &1)?;
    expect(
        "all of it is back, as one page",
        device.snapshot(&region[..])?.iter().all(|page| !page.is_in_device() && page.is_large()),
    )?;
    expect("what the device wrote", region[PAGE..].iter().all(|&byte| byte == 4))
}

/// One page is made unlike the others, so the CPU maps it page by page, and gets back what it
/// touches.
pub fn a_huge_page_comes_back_in_parts() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let mut region = huge_there(&device, 3)?;
    region.protect(5 * PAGE, PAGE, Access::Read)?;
    expect_equal("bytes", &(region[0], region[5 * PAGE]), &(3, 3))?;
    expect_equal("pages left", &count_there(&device, &region)?, &(HUGE_PAGE / PAGE - 2))?;
    queue.fill(&mut region[6 * PAGE..], 4_u8)?;
    expect("the rest", region[6 * PAGE..].iter().all(|&byte| byte == 4))?;
    expect("and the beginning", region[..6 * PAGE].iter().all(|&byte| byte == 3))
}

/// The first page that is touched is not the first that there is, and others come with it then.
pub fn a_huge_page_is_touched_in_the_middle() -> Outcome {
    let device = Device::open()?;
    let region = huge_there(&device, 3)?;
    region.protect(40 * PAGE, PAGE, Access::Read)?;
    for page in [3, 9, 300, 0, 511] {
        expect_equal(&format!("page {page}"), &region[page * PAGE], &3)?;
    }
    expect("pages come together", count_there(&device, &region)? < HUGE_PAGE / PAGE - 5)?;
    expect("all of them", region.iter().all(|&byte| byte == 3))?;
    expect_equal("pages left", &count_there(&device, &region)?, &0)
}

pub fn a_huge_page_is_given_up_in_part() -> Outcome {
    let before = gauges()?;
    {
        let device = Device::open()?;
        let region = std::mem::ManuallyDrop::new(huge_there(&device, 3)?);
        let half = HUGE_PAGE / 2;
        region.punch(0, half)?;
        expect("the other half", region[half..].iter().all(|&byte| byte == 3))?;
        region.punch(half, half)?;
    }
    await_gauges(before)
}

pub fn a_huge_page_goes_elsewhere() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let mut region = huge_there(&device, 3)?;
    region.relocate()?;
    queue.fill(&mut region[..PAGE], 4_u8)?;
    expect("what the device wrote", region[..PAGE].iter().all(|&byte| byte == 4))?;
    expect("and what it did not", region[PAGE..].iter().all(|&byte| byte == 3))
}
