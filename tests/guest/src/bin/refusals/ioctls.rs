// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Calls of the driver with wrong arguments: each has its errno.
#![allow(unsafe_code, reason = "creates queues on rings that are none")]

use crate::rig::{Rig, open};
use farfault_client::raw::uapi::{MIGRATE_DEVICE, Migrate, Prefetch, QueueCreate, Wait};
use farfault_client::raw::{DeviceFile, Kernel, Mapping, RingMemory};
use farfault_guest_programs::ktap::{Outcome, expect_equal, expect_refusals};
use farfault_guest_programs::memory::{PAGE, Region, nowhere};
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::signals;
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

fn create(device: &DeviceFile, mut request: QueueCreate) -> nix::Result<()> {
    // SAFETY: a request that is wrong makes no queue; right ones are not made here.
    unsafe { device.queue_create(&mut request) }
}

pub fn queue_create_arguments() -> Outcome {
    let mut rig = Rig::new()?;
    let ring = RingMemory::new(16, 0)?;
    let right = QueueCreate { ring: ring.address(), entries: 16, ..QueueCreate::default() };
    let wrong = [
        ("entries 0", QueueCreate { entries: 0, ..right }, Errno::EINVAL),
        ("entries 1", QueueCreate { entries: 1, ..right }, Errno::EINVAL),
        ("entries 12", QueueCreate { entries: 12, ..right }, Errno::EINVAL),
        ("entries 131072", QueueCreate { entries: 1 << 17, ..right }, Errno::EINVAL),
        ("reserved", QueueCreate { reserved: 1, ..right }, Errno::EINVAL),
        ("a flag", QueueCreate { flags: 1, ..right }, Errno::EINVAL),
        ("a misaligned ring", QueueCreate { ring: right.ring + 64, ..right }, Errno::EINVAL),
        ("a kernel address", QueueCreate { ring: 0xffff_8000_0000_0000, ..right }, Errno::EINVAL),
        ("a ring over the end", QueueCreate { ring: (1 << 47) - 4096, ..right }, Errno::EINVAL),
    ];
    expect_refusals(wrong, |request| create(&rig.device, request))?;
    rig.still_works()
}

pub fn queue_destroy_arguments() -> Outcome {
    let mut rig = Rig::new()?;
    let other = Rig::new()?;
    for queue in [rig.queue.number + 1000, u32::MAX, other.queue.number] {
        expect_equal("no queue of ours", &rig.device.queue_destroy(queue), &Err(Errno::ENOENT))?;
    }
    let number = rig.queue.number;
    rig.queue.destroy()?;
    expect_equal("twice", &rig.device.queue_destroy(number), &Err(Errno::ENOENT))?;
    rig.queue = RawQueue::new(&rig.device, 16)?;
    rig.still_works()
}

pub fn wait_arguments() -> Outcome {
    let mut rig = Rig::new()?;
    let word = Region::anonymous(PAGE)?;
    let queue = rig.queue.number;
    let right = Wait { queue, address: word.address(), value: 0, ..Wait::default() };
    expect_equal("a value that is reached", &rig.device.wait(&right), &Ok(()))?;
    let wrong = [
        ("no queue", Wait { queue: 1000, ..right }, Errno::ENOENT),
        ("a flag", Wait { flags: 1, ..right }, Errno::EINVAL),
        ("a misaligned address", Wait { address: right.address + 4, ..right }, Errno::EINVAL),
        ("nothing there", Wait { address: nowhere(PAGE)?, ..right }, Errno::EFAULT),
        ("a kernel address", Wait { address: 0xffff_8000_0000_0000, ..right }, Errno::EFAULT),
    ];
    expect_refusals(wrong, |request| rig.device.wait(&request))?;
    rig.still_works()
}

pub fn prefetch_arguments() -> Outcome {
    let mut rig = Rig::new()?;
    let region = Region::anonymous(4 * PAGE)?;
    let right =
        Prefetch { address: region.address(), length: 4 * PAGE as u64, flags: 1, reserved: 0 };
    expect_equal("a range", &rig.device.prefetch(&right), &Ok(()))?;
    // In the middle of a page that is not there.
    let nothing = Prefetch { address: nowhere(PAGE)? + 1, length: 0, ..right };
    expect_equal("no bytes", &rig.device.prefetch(&nothing), &Ok(()))?;
    let wrong = [
        ("a flag", Prefetch { flags: 2, ..right }, Errno::EINVAL),
        ("reserved", Prefetch { reserved: 1, ..right }, Errno::EINVAL),
        ("a range that wraps", Prefetch { length: u64::MAX, ..right }, Errno::EINVAL),
        ("nothing there", Prefetch { address: nowhere(4 * PAGE)?, ..right }, Errno::EFAULT),
        ("a kernel address", Prefetch { address: 0xffff_8000_0000_0000, ..right }, Errno::EFAULT),
    ];
    expect_refusals(wrong, |request| rig.device.prefetch(&request))?;
    rig.still_works()
}

/// Of a device that has none; of one that has, `device-memory` tests it.
pub fn no_device_memory() -> Outcome {
    let mut rig = Rig::new()?;
    let region = Region::anonymous(PAGE)?;
    let right = Migrate {
        address: region.address(),
        length: PAGE as u64,
        target: MIGRATE_DEVICE,
        ..Migrate::default()
    };
    let wrong = [
        ("a page", right, Errno::EOPNOTSUPP),
        ("no target", Migrate { target: 0, ..right }, Errno::EINVAL),
    ];
    expect_refusals(wrong, |mut request| rig.device.migrate(&mut request))?;
    rig.still_works()
}

pub fn unknown_ioctl() -> Outcome {
    let mut rig = Rig::new()?;
    for request in [0xfa05, 0x8020_fa7f, 0x8021_fa00, 0x5401] {
        // SAFETY: no argument is given, so the driver can write nowhere.
        let result = unsafe { libc::ioctl(rig.device.as_fd().as_raw_fd(), request, 0) };
        let result = Errno::result(result);
        expect_equal(&format!("ioctl {request:#x}"), &result, &Err(Errno::ENOTTY))?;
    }
    // SAFETY: INFO finds nothing at address 8 to write to.
    let result = unsafe { libc::ioctl(rig.device.as_fd().as_raw_fd(), 0x8020_fa00, 8) };
    expect_equal("INFO to nowhere", &Errno::result(result), &Err(Errno::EFAULT))?;
    rig.still_works()
}

pub fn deadline_passes() -> Outcome {
    let mut rig = Rig::new()?;
    let word = Region::anonymous(PAGE)?;
    expect_equal("past", &rig.queue.wait(word.address(), 1, 1), &Err(Errno::ETIME))?;
    let soon = rig.queue.wait(word.address(), 1, raw_queue::now()? + 1_000_000);
    expect_equal("in a millisecond", &soon, &Err(Errno::ETIME))?;
    expect_equal("reached, and past", &rig.queue.wait(word.address(), 0, 1), &Ok(()))?;
    rig.still_works()
}

pub fn signal_ends_a_wait() -> Outcome {
    let mut rig = Rig::new()?;
    let word = Region::anonymous(PAGE)?;
    signals::survive(Signal::SIGUSR1)?;
    let waiting = AtomicBool::new(true);
    // SAFETY: names this very thread.
    let waiter = unsafe { libc::pthread_self() };
    let result = std::thread::scope(|threads| {
        // The first may come before the wait has begun; one of them comes after.
        threads.spawn(|| {
            while waiting.load(Ordering::Relaxed) {
                // SAFETY: the thread lives until this one has been joined.
                unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) };
                std::thread::yield_now();
            }
        });
        let result = rig.queue.wait(word.address(), 1, 0);
        waiting.store(false, Ordering::Relaxed);
        result
    });
    expect_equal("WAIT", &result, &Err(Errno::EINTR))?;
    rig.still_works()
}

/// Of a device's queues a context has half, and two have all.
pub fn every_queue_taken() -> Outcome {
    let devices = [open()?, open()?];
    let queues = devices[0].info()?.queues as usize;
    let mut taken = Vec::new();
    let mut fill = |device| {
        let before = taken.len();
        loop {
            match RawQueue::new(device, 2) {
                Ok(queue) => taken.push(queue),
                Err(error) => break (taken.len() - before, error),
            }
        }
    };
    expect_equal("the first context", &fill(&devices[0]), &(queues / 2, Errno::EMFILE))?;
    expect_equal("the second", &fill(&devices[1]), &(queues / 2, Errno::ENOSPC))?;
    drop(taken);
    Rig::new()?.still_works()
}

pub fn doorbell_of_another() -> Outcome {
    let mut rig = Rig::new()?;
    let other = open()?;
    let map = |file: &DeviceFile, pages: usize, offset| {
        Mapping::shared(file.as_fd(), pages * PAGE, offset).map(drop)
    };
    let ours = rig.queue.doorbell_offset;
    expect_equal("our own", &map(&rig.device, 1, ours), &Ok(()))?;
    expect_equal("by another context", &map(&other, 1, ours), &Err(Errno::ENOENT))?;
    expect_equal("two pages", &map(&rig.device, 2, ours), &Err(Errno::EINVAL))?;
    // The driver's own doorbell comes behind those of all queues.
    for page in [64, 65, 127, 1 << 20] {
        let offset = page * PAGE as u64;
        let what = format!("page {page}");
        expect_equal(&what, &map(&rig.device, 1, offset), &Err(Errno::ENOENT))?;
    }
    rig.still_works()
}
