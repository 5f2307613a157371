// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The process ends, or the device does.

use crate::place::{PAGES, huge_there, seen, there};
use farfault_client::Device;
use farfault_guest_programs::children::Child;
use farfault_guest_programs::counters::{await_gauges, gauges, get, killed};
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::device_pages::count_there;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::sysfs::{bind, device, reset};

pub fn an_end_gives_it_back() -> Outcome {
    let before = gauges()?;
    Child::start(|| {
        let device = Device::open()?;
        std::mem::forget(there(&device, PAGES)?);
        std::mem::forget(huge_there(&device, 1)?);
        Ok(())
    })?
    .succeed()?;
    await_gauges(before)
}

pub fn a_kill_gives_it_back() -> Outcome {
    killed(|reached, never| {
        let device = Device::open()?;
        let (_region, _contents) = there(&device, PAGES)?;
        let _huge = huge_there(&device, 1)?;
        reached.reach()?;
        never.wait()
    })
}

/// Whoever has the file open still does.
pub fn unbinding_brings_it_back() -> Outcome {
    let device_name = device()?;
    let owner = Device::open()?;
    let (region, contents) = there(&owner, PAGES)?;
    let huge = huge_there(&owner, 6)?;
    bind("unbind", &device_name)?;
    let result = expect("it is as it was", region[..] == contents[..])
        .and_then(|()| expect("and the huge page is", huge.iter().all(|&byte| byte == 6)));
    bind("bind", &device_name)?;
    result?;
    let (device, mut queue) = device_and_queue()?;
    let (region, contents) = there(&device, PAGES)?;
    expect("the device works again", seen(&mut queue, &region)?[..] == contents[..])
}

/// What is there is brought back first, and can go there again.
pub fn a_reset_loses_nothing() -> Outcome {
    let device = Device::open()?;
    let (region, contents) = there(&device, PAGES)?;
    let huge = huge_there(&device, 6)?;
    reset()?;
    expect_equal("pages there", &get("device_pages")?, &0)?;
    expect("it is as it was", region[..] == contents[..])?;
    expect("and the huge page is", huge.iter().all(|&byte| byte == 6))?;
    let (again, contents) = there(&device, PAGES)?;
    let mut queue = device.queue(16)?;
    expect("the device works again", seen(&mut queue, &again)?[..] == contents[..])?;
    expect_equal("pages there", &count_there(&device, &again)?, &PAGES)
}
