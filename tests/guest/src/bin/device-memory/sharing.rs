// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages that two processes have.

use crate::place::{PAGES, huge_there, there};
use farfault_client::{Device, Memory};
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{PAGE, Region};

pub fn parent_and_child_have_their_own() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let (mut region, contents) = there(&device, PAGES)?;
    let child = Child::start(|| {
        expect("the child reads it", region[..] == contents[..])?;
        let mut mine = Region::small_pages(PAGE)?;
        let (device, mut queue) = device_and_queue()?;
        queue.copy(&region[..PAGE], &mut mine[..])?;
        expect("and its device does", mine[..] == contents[..PAGE])?;
        expect_equal("pages moved", &device.migrate(&mine[..], Memory::Device)?, &1)?;
        expect("a page of its own", mine[..] == contents[..PAGE])
    })?;
    queue.fill(&mut region[..PAGE], 1_u8)?;
    child.succeed()?;
    expect("what the device wrote", region[..PAGE].iter().all(|&byte| byte == 1))?;
    expect("and what it did not", region[PAGE..] == contents[PAGE..])
}

/// A huge page there that two have: the child reads it, the parent's device writes it.
pub fn both_have_a_huge_page() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let mut region = huge_there(&device, 3)?;
    let child = Child::start(|| {
        expect("the child reads it", region.iter().all(|&byte| byte == 3))?;
        let device = Device::open()?;
        device.migrate(&region[..], Memory::Device)?;
        expect("and reads it again", region.iter().all(|&byte| byte == 3))
    })?;
    queue.fill(&mut region[..], 4_u8)?;
    child.succeed()?;
    expect("what the device wrote", region.iter().all(|&byte| byte == 4))
}

/// The child looks when the parent's device has written.
pub fn the_device_writes_what_a_child_shares() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let (mut region, contents) = there(&device, PAGES)?;
    let written = Signpost::new()?;
    let child = Child::start(|| {
        written.wait()?;
        expect("the child reads what was", region[..] == contents[..])
    })?;
    queue.fill(&mut region[..], 1_u8)?;
    written.reach()?;
    child.succeed()?;
    expect("the parent reads what is", region.iter().all(|&byte| byte == 1))
}
