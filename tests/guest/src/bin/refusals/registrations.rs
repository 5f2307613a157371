// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registered buffers: what is refused, and that no page stays pinned.
#![allow(unsafe_code, reason = "gives up privileges")]

use crate::rig::{Rig, copy, fill, open};
use farfault_client::raw::uapi::{REGISTER_WRITE, Register, Unregister};
use farfault_client::raw::{DeviceFile, Kernel};
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::counters::{self, PATIENCE};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{
    self, Access, HUGE_PAGE, PAGE, Region, Sharing, memory_file, nowhere,
};
use farfault_guest_programs::userfault::{Mode, Userfault};
use farfault_guest_programs::{Failure, pins};
use nix::errno::Errno;
use nix::libc;
use std::time::Instant;

const BYTES: u64 = PAGE as u64;

fn register(device: &DeviceFile, mut request: Register) -> nix::Result<u64> {
    device.register(&mut request).map(|()| request.device_address)
}

fn unregister(device: &DeviceFile, device_address: u64) -> nix::Result<()> {
    device.unregister(&Unregister { device_address, reserved: 0 })
}

fn all_of(region: &Region) -> Register {
    Register {
        address: region.address(),
        length: region.len() as u64,
        flags: REGISTER_WRITE,
        ..Register::default()
    }
}

/// Pages pinned: as the driver, the process and the whole system have counted.
fn pinned() -> Result<[u64; 3], Failure> {
    Ok([counters::get("pages_pinned")?, pins::of_process()?, pins::in_system()?])
}

pub fn register_arguments() -> Outcome {
    let mut rig = Rig::new()?;
    let region = Region::small_pages(4 * PAGE)?;
    let file = memory_file(BYTES)?;
    let read_only = Region::of_file(&file, PAGE, Sharing::Shared, Access::Read)?;
    let no_access = Region::of_file(&file, PAGE, Sharing::Shared, Access::None)?;
    let hole = Region::small_pages(700 * PAGE)?;
    hole.punch(600 * PAGE, PAGE)?;
    let right = all_of(&region);
    let before = pinned()?;
    let wrong = [
        ("a flag", Register { flags: 2, ..right }, Errno::EINVAL),
        ("reserved", Register { reserved: 1, ..right }, Errno::EINVAL),
        ("nothing", Register { length: 0, ..right }, Errno::EINVAL),
        ("a range that wraps", Register { length: u64::MAX, ..right }, Errno::EINVAL),
        ("a kernel address", Register { address: 0xffff_8000_0000_0000, ..right }, Errno::EFAULT),
        ("over the end", Register { address: (1 << 47) - BYTES, ..right }, Errno::EFAULT),
        ("nothing there", Register { address: nowhere(4 * PAGE)?, ..right }, Errno::EFAULT),
        ("memory without access", all_of(&no_access), Errno::EFAULT),
        ("writing what is read-only", all_of(&read_only), Errno::EFAULT),
        ("a hole behind 600 pages", all_of(&hole), Errno::EFAULT),
    ];
    for (what, request, errno) in wrong {
        expect_equal(what, &register(&rig.device, request), &Err(errno))?;
        expect_equal(&format!("pinned after {what}"), &pinned()?, &before)?;
    }
    rig.still_works()
}

pub fn unregister_arguments() -> Outcome {
    let mut rig = Rig::new()?;
    let other = open()?;
    let region = Region::small_pages(4 * PAGE)?;
    let before = pinned()?;
    let ours = register(&rig.device, all_of(&region))?;
    let reserved = Unregister { device_address: ours, reserved: 1 };
    expect_equal("reserved", &rig.device.unregister(&reserved), &Err(Errno::EINVAL))?;
    let wrong = [
        ("address 0", 0),
        ("the virtual address", region.address()),
        ("the second page", ours + BYTES),
        ("memory of the driver's own", 1 << 47),
        ("the last address", u64::MAX),
    ];
    for (what, address) in wrong {
        expect_equal(what, &unregister(&rig.device, address), &Err(Errno::ENOENT))?;
    }
    expect_equal("by another context", &unregister(&other, ours), &Err(Errno::ENOENT))?;
    expect_equal("ours", &unregister(&rig.device, ours), &Ok(()))?;
    expect_equal("twice", &unregister(&rig.device, ours), &Err(Errno::ENOENT))?;
    expect_equal("pinned afterwards", &pinned()?, &before)?;
    rig.still_works()
}

pub fn registered_buffer_is_reached() -> Outcome {
    let mut rig = Rig::new()?;
    let mut source = Region::small_pages(3 * PAGE)?;
    let target = Region::small_pages(3 * PAGE)?;
    source.fill(6);
    // Neither begins nor ends with a page.
    let (skip, length) = (100, 2 * BYTES);
    let part = |region: &Region, flags| Register {
        address: region.address() + skip,
        length,
        flags,
        ..Register::default()
    };
    let before = pinned()?;
    let from = register(&rig.device, part(&source, 0))?;
    let to = register(&rig.device, part(&target, REGISTER_WRITE))?;
    expect_equal("pinned", &pinned()?, &before.map(|pages| pages + 6))?;
    expect_equal("offset in 2 MiB", &(to % (2 << 20)), &((target.address() + skip) % (2 << 20)))?;
    let faults = counters::get("faults")?;
    rig.done("a copy", copy(from, to, length))?;
    // At most the completion's page is asked for.
    expect("no fault", counters::get("faults")? <= faults + 1)?;
    let copied = skip as usize..(skip + length) as usize;
    expect("what was registered is copied", target[copied.clone()].iter().all(|&b| b == 6))?;
    expect("nothing before it", target[..copied.start].iter().all(|&b| b == 0))?;
    expect("nothing behind it", target[copied.end..].iter().all(|&b| b == 0))?;
    rig.faults(fill(from, 64, 1), from, 0)?; // registered for reading
    expect("it holds what it held", source.iter().all(|&byte| byte == 6))?;

    unregister(&rig.device, to)?;
    rig.faults(fill(to, 64, 1), to, 0)?;
    rig.device.unregister(&Unregister { device_address: from, reserved: 0 })?;
    expect_equal("pinned afterwards", &pinned()?, &before)
}

pub fn registered_huge_pages() -> Outcome {
    memory::allow_huge_pages()?;
    let mut rig = Rig::new()?;
    let mut region = Region::huge_pages(3 * HUGE_PAGE)?;
    region.fill(1);
    let (leaves, before) = (counters::get("leaves_2m")?, pinned()?);
    let address = register(&rig.device, all_of(&region))?;
    expect_equal("2 MiB leaves", &(counters::get("leaves_2m")? - leaves), &3)?;
    let length = region.len() as u64;
    rig.done("a fill", fill(address, length, u64::from_le_bytes([9; 8])))?;
    expect("the CPU sees what the device wrote", region.iter().all(|&byte| byte == 9))?;
    unregister(&rig.device, address)?;
    expect_equal("pinned afterwards", &pinned()?, &before)?;
    rig.still_works()
}

pub fn registered_twice() -> Outcome {
    let mut rig = Rig::new()?;
    let region = Region::small_pages(4 * PAGE)?;
    let one = register(&rig.device, all_of(&region))?;
    let other = register(&rig.device, all_of(&region))?;
    expect("each has an address of its own", one != other)?;
    unregister(&rig.device, one)?;
    rig.done("a fill", fill(other, BYTES, u64::from_le_bytes([4; 8])))?;
    expect("the other one is still there", region[..PAGE].iter().all(|&byte| byte == 4))?;
    rig.faults(fill(one, 64, 1), one, 0)?;
    unregister(&rig.device, other)?;
    rig.still_works()
}

pub fn more_than_may_be_locked() -> Outcome {
    let before = pinned()?;
    Child::start(|| {
        let device = open()?;
        let region = Region::small_pages(17 * PAGE)?;
        let limit = libc::rlimit { rlim_cur: 16 * BYTES, rlim_max: 16 * BYTES };
        // SAFETY: limits this process.
        Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) })?;
        // SAFETY: this process gives up being root, and with it CAP_IPC_LOCK.
        Errno::result(unsafe { libc::setresuid(65534, 65534, 65534) })?;
        let all = all_of(&region);
        let most = Register { length: 16 * BYTES, ..all };
        expect_equal("17 pages", &register(&device, all), &Err(Errno::ENOMEM))?;
        let address = register(&device, most)?;
        let another = Register { length: 1, ..all };
        expect_equal("one more", &register(&device, another), &Err(Errno::ENOMEM))?;
        unregister(&device, address)?;
        unregister(&device, register(&device, most)?)?;
        Ok(())
    })?
    .succeed()?;
    expect_equal("pinned afterwards", &pinned()?, &before)
}

/// Returns once as much is pinned as `before` again.
fn await_pinned(before: [u64; 3]) -> Outcome {
    let began = Instant::now();
    while pinned()? != before {
        if began.elapsed() > PATIENCE {
            return expect_equal("pinned afterwards", &pinned()?, &before);
        }
        std::thread::yield_now();
    }
    Ok(())
}

pub fn closed_with_buffers_registered() -> Outcome {
    let before = pinned()?;
    let rig = Rig::new()?;
    let region = Region::small_pages(600 * PAGE)?;
    for _ in 0..3 {
        register(&rig.device, all_of(&region))?;
    }
    expect_equal("pinned", &pinned()?, &before.map(|pages| pages + 1800))?;
    drop(rig);
    await_pinned(before)?;
    Rig::new()?.still_works()
}

pub fn killed_with_buffers_registered() -> Outcome {
    let before = pinned()?;
    let (registered, never) = (Signpost::new()?, Signpost::new()?);
    let child = Child::start(|| {
        let device = open()?;
        let region = Region::small_pages(600 * PAGE)?;
        register(&device, all_of(&region))?;
        registered.reach()?;
        never.wait()
    })?;
    registered.wait()?;
    expect("pages are pinned", pins::in_system()? >= before[2] + 600)?;
    child.kill()?;
    await_pinned(before)?;
    Rig::new()?.still_works()
}

pub fn killed_while_registering() -> Outcome {
    let before = pinned()?;
    let asked = Signpost::new()?;
    let child = Child::start(|| {
        let device = open()?;
        let region = Region::small_pages(600 * PAGE)?;
        let userfault = Userfault::open()?;
        // The first pages are there and get pinned, the last one never comes.
        userfault.register(region.address() + 599 * BYTES, PAGE, Mode::Missing)?;
        std::thread::scope(|threads| {
            threads.spawn(|| userfault.next().map(|_| asked.reach()));
            register(&device, all_of(&region))
        })?;
        Err("a page that nobody brought was pinned".into())
    })?;
    asked.wait()?;
    child.kill()?;
    await_pinned(before)?;
    Rig::new()?.still_works()
}

pub fn registering_by_a_forked_child() -> Outcome {
    let mut rig = Rig::new()?;
    let region = Region::small_pages(PAGE)?;
    let address = register(&rig.device, all_of(&region))?;
    Child::start(|| {
        let eperm = Errno::EPERM;
        expect_equal("REGISTER", &register(&rig.device, all_of(&region)), &Err(eperm))?;
        expect_equal("UNREGISTER", &unregister(&rig.device, address), &Err(eperm))
    })?
    .succeed()?;
    unregister(&rig.device, address)?;
    rig.still_works()
}
