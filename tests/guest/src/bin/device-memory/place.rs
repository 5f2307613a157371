// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that is in the device's own memory.

use farfault_client::{Device, Queue};
use farfault_guest_programs::Failure;
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::device_pages::{count_there, move_there};
use farfault_guest_programs::dmirror::numbered;
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::ktap::{expect, expect_equal};
use farfault_guest_programs::memory::Region;

pub const PAGES: usize = 48;
const SEED: u64 = 5;

/// Pages in device memory, and what is in them.
pub fn there(device: &Device, pages: usize) -> Result<(Region, Region), Failure> {
    let (region, contents) = (numbered(pages, SEED)?, numbered(pages, SEED)?);
    move_there(device, &region)?;
    expect_equal("pages there", &count_there(device, &region)?, &pages)?;
    Ok((region, contents))
}

/// A huge page in device memory, full of `value`.
pub fn huge_there(device: &Device, value: u8) -> Result<Region, Failure> {
    let region = huge_page(value)?;
    let copies = growth("copies", || move_there(device, &region))?;
    expect_equal("copies", &copies, &1)?;
    let whole =
        device.snapshot(&region[..])?.iter().all(|page| page.is_in_device() && page.is_large());
    expect("all of it is there, as one page", whole)?;
    Ok(region)
}

/// What the device reads there.
pub fn seen(queue: &mut Queue, region: &Region) -> Result<Region, Failure> {
    let mut copy = Region::small_pages(region.len())?;
    queue.copy(&region[..], &mut copy[..])?;
    Ok(copy)
}
