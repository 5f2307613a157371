// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What goes to device memory when the device has used it often.

use farfault_client::{Advice, Device, Queue};
use farfault_guest_programs::Failure;
use farfault_guest_programs::counters::get;
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::device_pages::count_there;
use farfault_guest_programs::dmirror::numbered;
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE, Region};
use farfault_guest_programs::sysfs::reset;
use std::thread::sleep;
use std::time::Duration;

/// What a counter is for.
const BLOCK: usize = 16 * PAGE;
/// How often the device may go through memory before it has gone there: each engine counts
/// for itself, and the driver takes its time.
const MOST: u32 = 1000;

/// Has the device read until all of `region` is there; how often that was.
fn read_until_there(
    device: &Device,
    queue: &mut Queue,
    read: &[u8],
    region: &Region,
) -> Result<u32, Failure> {
    for round in 1..=MOST {
        queue.word_count(read)?;
        if count_there(device, region)? == region.len() / PAGE {
            return Ok(round);
        }
        sleep(Duration::from_millis(1));
    }
    Err(format!("{} pages are there after {MOST} rounds", count_there(device, region)?).into())
}

/// What is used less often than the threshold, or not meant, stays.
pub fn what_is_used_often_goes_there() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let [region, other, contents] = [(); 3].map(|()| numbered(4 * BLOCK / PAGE, 7));
    let (region, other, contents) = (region?, other?, contents?);
    device.advise(&region[..], Advice::PreferOften)?;
    let [records, moved] = [get("access_records")?, get("moved_often")?];
    for memory in [&region, &other] {
        queue.word_count(&memory[..])?;
        queue.word_count(&memory[..])?;
        expect_equal("pages there so far", &count_there(&device, memory)?, &0)?;
    }
    expect_equal("records so far", &(get("access_records")? - records), &0)?;
    let rounds = read_until_there(&device, &mut queue, &region[..], &region)?;
    println!("# there after {} rounds", rounds + 2);
    let pages = (region.len() / PAGE) as u64;
    expect_equal("pages moved", &(get("moved_often")? - moved), &pages)?;
    expect("the device has told of them", get("access_records")? - records >= pages / 16)?;
    for _ in 0..rounds {
        queue.word_count(&other[..])?;
    }
    expect_equal("pages there of the rest", &count_there(&device, &other)?, &0)?;
    expect("the CPU reads it", region[..] == contents[..])
}

/// Whatever part of it is used.
pub fn a_huge_page_goes_as_one() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let region = huge_page(9)?;
    device.advise(&region[..], Advice::PreferOften)?;
    let copies = get("copies")?;
    read_until_there(&device, &mut queue, &region[HUGE_PAGE - BLOCK..], &region)?;
    expect_equal("copies", &(get("copies")? - copies), &1)?;
    let mut counts = Box::new([0; 256]);
    queue.histogram(&region[..], &mut counts)?;
    expect_equal("bytes that the device finds", &counts[9], &(HUGE_PAGE as u64))
}

/// A device that was reset counts again when it has a queue.
pub fn a_reset_is_outlived() -> Outcome {
    let device = Device::open()?;
    let region = numbered(BLOCK / PAGE, 7)?;
    device.advise(&region[..], Advice::PreferOften)?;
    reset()?;
    read_until_there(&device, &mut device.queue(16)?, &region[..], &region)?;
    Ok(())
}
