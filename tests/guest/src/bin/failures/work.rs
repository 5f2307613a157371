// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is done while an allocation fails. Each runs in a process of its own.

use crate::aim::{page_after_page, second_page_failed};
use crate::round::{End, Round};
use farfault_client::raw::Kernel;
use farfault_client::{Advice, Device, Memory};
use farfault_guest_programs::Failure;
use farfault_guest_programs::dmirror::{Node, numbered};
use farfault_guest_programs::ktap::{Outcome, expect};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing};
use farfault_guest_programs::raw_queue::open;
use farfault_guest_programs::sysfs;
use std::ops::Range;

/// What one of the driver's interval notifiers covers.
const INTERVAL: usize = 64 << 20;

/// What one table of the IOMMU's last level covers.
const IOMMU_TABLE: usize = 2 << 20;

/// Memory of which some pages are in an interval in which nothing else is.
fn fresh() -> Result<(Region, Range<usize>), Failure> {
    fresh_at(0)
}

/// The same with the pages so far from the interval's start.
fn fresh_at(offset: usize) -> Result<(Region, Range<usize>), Failure> {
    let region = Region::small_pages(2 * INTERVAL)?;
    let start = (region.address() as usize).next_multiple_of(INTERVAL) - region.address() as usize;
    let start = start + offset;
    Ok((region, start..start + 2 * PAGE))
}

pub fn open_device(round: &Round) -> Outcome {
    round.of(|| open().map(drop)).map(drop)
}

pub fn first_ioctl(round: &Round) -> Outcome {
    let device = open()?;
    round.of(|| Ok(device.info().map(drop)?)).map(drop)
}

pub fn create_queue(round: &Round) -> Outcome {
    let device = Device::open()?;
    round.of(|| Ok(device.queue(16)?.nop()?)).map(drop)
}

pub fn prefetch(round: &Round) -> Outcome {
    let (mut memory, pages) = fresh()?;
    let device = Device::open()?;
    round.of(|| Ok(device.prefetch_mut(&mut memory[pages.clone()])?)).map(drop)
}

/// A table of the IOMMU cannot be had, and not even one page when that is to be helped. The pages
/// that are to be mapped are there. The IOMMU keeps its tables, and the next process has the same
/// addresses for its device; so each round is where no other was, nor other work.
pub fn prefetch_twice_in_want(round: &Round) -> Outcome {
    let place = (1 + round.number as usize) * IOMMU_TABLE;
    expect("each round has a table of the IOMMU of its own", place < INTERVAL)?;
    let (mut memory, pages) = fresh_at(place)?;
    memory[pages.clone()].fill(1);
    let device = Device::open()?;
    page_after_page(round.symbols, "ff_populate", "ff_mirror_lock_to_map")?;
    let end = round.of(|| Ok(device.prefetch_mut(&mut memory[pages.clone()])?))?;
    // A page of what the kernel's checks keep may be among those that fail, which refuses nothing.
    expect("a second page has failed", end != End::Refused || second_page_failed()?)
}

pub fn far_fault(round: &Round) -> Outcome {
    let (mut memory, pages) = fresh()?;
    let mut queue = Device::open()?.queue(16)?;
    queue.nop()?;
    round.of_service(|| Ok(queue.fill(&mut memory[pages.clone()], 7_u8)?))?;
    expect("the device has written", memory[pages].iter().all(|&byte| byte == 7))
}

pub fn advise(round: &Round) -> Outcome {
    let (memory, pages) = fresh()?;
    let device = Device::open()?;
    round.of(|| Ok(device.advise(&memory[pages.clone()], Advice::WillRead)?)).map(drop)
}

/// To the device's own memory, and back.
pub fn migrate(round: &Round) -> Outcome {
    let (mut memory, pages) = fresh()?;
    memory[pages.clone()].fill(7);
    let device = Device::open()?;
    round.of(|| {
        device.migrate(&memory[pages.clone()], Memory::Device)?;
        device.migrate(&memory[pages.clone()], Memory::System)?;
        Ok(())
    })?;
    expect("it is as it was", memory[pages].iter().all(|&byte| byte == 7))
}

/// The CPU wants what is there.
pub fn touch(round: &Round) -> Outcome {
    let (mut memory, pages) = fresh()?;
    memory[pages.clone()].fill(7);
    let device = Device::open()?;
    device.migrate(&memory[pages.clone()], Memory::Device)?;
    round.of(|| expect("it is as it was", memory[pages.clone()].iter().all(|&byte| byte == 7)))?;
    Ok(())
}

pub fn prefer(round: &Round) -> Outcome {
    let (memory, pages) = fresh()?;
    let device = Device::open()?;
    round.of(|| Ok(device.advise(&memory[pages.clone()], Advice::PreferDevice)?)).map(drop)
}

pub fn snapshot(round: &Round) -> Outcome {
    let (memory, pages) = fresh()?;
    let device = Device::open()?;
    round.of(|| Ok(device.snapshot(&memory[pages.clone()]).map(drop)?)).map(drop)
}

pub fn register(round: &Round) -> Outcome {
    let (mut memory, pages) = fresh()?;
    let device = Device::open()?;
    round.of(|| Ok(device.register_mut(&mut memory[pages.clone()]).map(drop)?)).map(drop)
}

pub fn open_node(round: &Round) -> Outcome {
    round.of(|| Node::open(0).map(drop)).map(drop)
}

pub fn node_reads(round: &Round) -> Outcome {
    let (node, there) = (Node::open(0)?, numbered(1, 3)?);
    let mut read = Region::small_pages(PAGE)?;
    round.of(|| Ok(node.read(&there, &mut read).map(drop)?))?;
    expect("the page is right", read[..] == there[..])
}

pub fn map_node(round: &Round) -> Outcome {
    let node = Node::open(0)?;
    let map = || Region::of_file(&node.0, PAGE, Sharing::Shared, Access::Write).map(drop);
    round.of(|| Ok(map()?)).map(drop)
}

/// Behind it the driver is bound with all that belongs to it: without debugfs it works as well.
pub fn bind(round: &Round) -> Outcome {
    let device = sysfs::device()?;
    sysfs::probe_here(&device)?;
    sysfs::bind("unbind", &device)?;
    if round.of_probe(|| sysfs::bind("bind", &device))? == End::Done {
        sysfs::bind("unbind", &device)?;
        sysfs::bind("bind", &device)?;
    }
    Ok(())
}
