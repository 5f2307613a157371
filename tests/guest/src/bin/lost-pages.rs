// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `lost-pages [TEST…]`: pages in device memory that the device does not give back. Whoever
//! touches one is told so, what is elsewhere stays as it was, and nobody reads zeroes. Prints
//! KTAP.
//!
//! The device is one whose second copy after a reset, and all behind it, fail
//! (`vram=32M,failing_copies=2`); for the last test, one whose second copy never ends
//! (`stuck_copy=2`).

use farfault_client::{Advice, Device, Memory};
use farfault_guest_programs::counters::{get, growth};
use farfault_guest_programs::device_pages::{count_there, move_there};
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE, Region};
use farfault_guest_programs::signals::expect_bus_error;
use farfault_guest_programs::sysfs::{bind, device, reset, set_parameter};
use farfault_guest_programs::{Failure, device_and_queue};
use std::thread;

farfault_guest_programs::test_program![
    it_does_not_come_back,
    it_stays_where_it_was,
    it_is_not_preferred_there,
    a_reset_loses_it,
    unbinding_loses_it,
    a_copy_never_ends,
    another_process_discards_it,
];

const VALUE: u8 = 9;

/// A huge page in device memory, after the only copy that the device makes.
fn there(device: &Device) -> Result<Region, Failure> {
    reset()?;
    let region = huge_page(VALUE)?;
    move_there(device, &region)?;
    Ok(region)
}

/// Memory in system memory, when the device has made its only copy.
fn here(device: &Device) -> Result<Region, Failure> {
    drop(there(device)?);
    let mut region = Region::small_pages(3 * PAGE)?;
    region.fill(VALUE);
    Ok(region)
}

fn expect_io_error(result: Result<u64, farfault_client::Error>) -> Outcome {
    match result {
        Err(error) if error.to_string().contains("EIO") => Ok(()),
        other => Err(format!("it was to fail with EIO: {other:?}").into()),
    }
}

/// The CPU is told of each page that it touches; the device still has it.
fn it_does_not_come_back() -> Outcome {
    let device = Device::open()?;
    let region = there(&device)?;
    for page in [0, 7, 511] {
        expect_bus_error(region.address() + page * PAGE as u64 + 8)?;
    }
    expect_io_error(device.migrate(&region[..], Memory::System))?;
    expect_equal("pages there", &count_there(&device, &region)?, &(HUGE_PAGE / PAGE))?;
    let mut counts = Box::new([0; 256]);
    device.queue(16)?.histogram(&region[..], &mut counts)?;
    expect_equal("bytes that the device finds", &counts[usize::from(VALUE)], &(HUGE_PAGE as u64))
}

fn it_stays_where_it_was() -> Outcome {
    let device = Device::open()?;
    let region = here(&device)?;
    expect_io_error(device.migrate(&region[..], Memory::Device))?;
    expect_equal("pages there", &count_there(&device, &region)?, &0)?;
    expect("it is as it was", region.iter().all(|&byte| byte == VALUE))
}

/// A fault of the device ends well all the same.
fn it_is_not_preferred_there() -> Outcome {
    let device = Device::open()?;
    let mut region = here(&device)?;
    let mut queue = device.queue(16)?;
    device.advise(&region[..], Advice::PreferDevice)?;
    let moved = growth("moved_preferred", || Ok(queue.fill(&mut region[..PAGE], VALUE + 1)?))?;
    expect_equal("pages moved", &moved, &0)?;
    expect("what the device wrote", region[..PAGE].iter().all(|&byte| byte == VALUE + 1))?;
    expect("and what it did not", region[PAGE..].iter().all(|&byte| byte == VALUE))
}

/// Neither CPU nor device finds zeroes there, nor later what is another's.
fn expect_lost(region: &mut Region) -> Outcome {
    expect_bus_error(region.address())?;
    let (device, mut queue) = device_and_queue()?;
    let mut copy = Region::small_pages(PAGE)?;
    copy.fill(1);
    let refused = queue.copy(&region[..PAGE], &mut copy[..]);
    expect("the device is refused", refused.is_err())?;
    expect("and has copied nothing", copy.iter().all(|&byte| byte == 1))?;
    let other = huge_page(VALUE - 1)?;
    device.migrate(&other[..], Memory::Device)?;
    expect_bus_error(region.address() + PAGE as u64)?;
    // What is mapped there anew is as good as any.
    region.advise(nix::libc::MADV_DONTNEED)?;
    expect_equal("fresh memory", &region[0], &0)
}

fn a_reset_loses_it() -> Outcome {
    let device = Device::open()?;
    let mut region = there(&device)?;
    reset()?;
    expect_lost(&mut region)
}

fn unbinding_loses_it() -> Outcome {
    let owner = Device::open()?;
    let mut region = there(&owner)?;
    let name = device()?;
    bind("unbind", &name)?;
    let told = expect_bus_error(region.address());
    bind("bind", &name)?;
    told?;
    reset()?;
    expect_lost(&mut region)
}

/// The driver gives the device up, and who waits is let go. After a reset it works again.
fn a_copy_never_ends() -> Outcome {
    let device = Device::open()?;
    let mut region = there(&device)?;
    {
        let _timeout = set_parameter("command_timeout", 1)?;
        expect_bus_error(region.address())?;
        expect("a queue is refused", device.queue(16).is_err())?;
    }
    reset()?;
    expect_lost(&mut region)
}

/// No test of the driver: it ends in an oops of a kernel with CONFIG_DEBUG_VM, see
/// guest-driver/kernel-bugs.md. A child has the page brought back, which never ends, and
/// meanwhile its parent discards it.
fn another_process_discards_it() -> Outcome {
    let device = Device::open()?;
    let region = there(&device)?;
    let _timeout = set_parameter("command_timeout", 2)?;
    let (copies, address) = (get("copies")?, region.address());
    thread::scope(|threads| {
        let child = threads.spawn(move || expect_bus_error(address).map_err(|why| why.to_string()));
        while get("copies")? == copies {
            thread::yield_now();
        }
        region.advise(nix::libc::MADV_DONTNEED)?;
        Ok::<_, Failure>(child.join().map_err(|_| "the thread panicked")??)
    })?;
    reset()?;
    expect_equal("fresh memory", &region[0], &0)
}
