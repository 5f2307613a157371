// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Correct commands on memory that cannot be had.

use crate::rig::{ENDLESS, Rig, copy, fill, word_count};
use farfault_client::raw::descriptor as abi;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing, memory_file, nowhere};
use farfault_guest_programs::raw_queue::RawQueue;

const BYTES: u64 = PAGE as u64;

pub fn never_mapped_address() -> Outcome {
    let mut rig = Rig::new()?;
    let address = nowhere(PAGE)? + 123;
    rig.faults(word_count(address, 64), address, 0)?;
    let address = nowhere(PAGE)?;
    rig.faults(fill(address, 64, 1), address, 0)?;
    rig.faults(word_count(0, 64), 0, 0)
}

pub fn address_beyond_user_space() -> Outcome {
    let mut rig = Rig::new()?;
    for address in [(1 << 47) - BYTES, 1 << 47, (1 << 48) - BYTES] {
        rig.faults(word_count(address, 64), address, 0)?;
    }
    Ok(())
}

pub fn memory_without_access() -> Outcome {
    let mut rig = Rig::new()?;
    let region = Region::anonymous(PAGE)?;
    region.protect(0, PAGE, Access::None)?;
    rig.faults(word_count(region.address(), 64), region.address(), 0)?;
    rig.faults(fill(region.address(), 64, 1), region.address(), 0)?;
    region.protect(0, PAGE, Access::Write)?;
    rig.done("a fill once there is access", fill(region.address(), 64, 1))
}

pub fn read_only_memory_written() -> Outcome {
    let mut rig = Rig::new()?;
    let mut region = Region::anonymous(2 * PAGE)?;
    region.fill(7);
    region.protect(0, 2 * PAGE, Access::Read)?;
    rig.faults(fill(region.address(), 64, 1), region.address(), 0)?;
    let target = Region::anonymous(PAGE)?;
    rig.done("reading it", copy(region.address(), target.address(), BYTES))?;
    expect("it can be read", target.iter().all(|&byte| byte == 7))?;
    rig.faults(fill(region.address(), 64, 1), region.address(), 0)?;
    expect("it holds what it held", region.iter().all(|&byte| byte == 7))
}

pub fn hole_in_the_middle() -> Outcome {
    let mut rig = Rig::new()?;
    let mut source = Region::small_pages(3 * PAGE)?;
    let target = Region::small_pages(3 * PAGE)?;
    source.fill(9);
    source.punch(PAGE, PAGE)?;
    let hole = source.address() + BYTES;
    rig.faults(copy(source.address() + 10, target.address(), 2 * BYTES), hole, BYTES - 10)?;
    expect("what came before the hole is done", target[..PAGE - 10].iter().all(|&b| b == 9))?;
    expect("what came after it is not", target[PAGE - 10..].iter().all(|&b| b == 0))
}

pub fn file_shorter_than_its_mapping() -> Outcome {
    let mut rig = Rig::new()?;
    let file = memory_file(BYTES)?;
    let region = Region::of_file(&file, 2 * PAGE, Sharing::Shared, Access::Write)?;
    rig.faults(fill(region.address(), 2 * BYTES, 1), region.address() + BYTES, BYTES)
}

pub fn unmapped_in_flight() -> Outcome {
    let mut rig = Rig::new()?;
    let ring = rig.start_endless()?;
    ring.punch(PAGE, PAGE)?;
    let address = rig.queue.ring.record_address(0);
    rig.queue.wait(address, ENDLESS, 0)?;
    let Some(completion) = rig.queue.ring.record(0, ENDLESS) else {
        return Err("WAIT returned before the fence was there".into());
    };
    expect_equal("status", &completion.status, &abi::STATUS_FAULT)?;
    let gone = ring.address() + BYTES;
    expect_equal("page that the status names", &(completion.fault_address & !(BYTES - 1)), &gone)?;
    expect("nodes were seen before", completion.done > 0)?;
    rig.still_works()
}

pub fn refused_while_another_queue_works() -> Outcome {
    let mut rig = Rig::new()?;
    let mut other = Rig { device: rig.device.clone(), queue: RawQueue::new(&rig.device, 4)? };
    let ring = other.start_endless()?;
    let address = nowhere(PAGE)?;
    rig.faults(word_count(address, 64), address, 0)?;
    expect("the other queue is still at it", other.queue.ring.record(0, ENDLESS).is_none())?;
    drop(other);
    drop(ring);
    rig.still_works()
}
