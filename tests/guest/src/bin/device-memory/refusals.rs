// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What cannot be moved stays where it is.

use crate::place::there;
use farfault_client::raw::uapi::{MIGRATE_DEVICE, MIGRATE_SYSTEM, Migrate};
use farfault_client::raw::{DeviceFile, Kernel};
use farfault_client::{Device, Memory};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal, expect_refusals};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing, memory_file, nowhere};
use farfault_guest_programs::raw_queue;
use nix::errno::Errno;

fn migrate(device: &DeviceFile, mut request: Migrate) -> nix::Result<()> {
    device.migrate(&mut request)
}

pub fn arguments() -> Outcome {
    const BYTES: u64 = 4 * PAGE as u64;
    let device = raw_queue::open()?;
    let mut region = Region::small_pages(BYTES as usize)?;
    region.fill(8);
    let address = region.address();
    let right = Migrate { address, length: BYTES, target: MIGRATE_DEVICE, reserved: 0, moved: 0 };
    let wrong = [
        ("no target", Migrate { target: 0, ..right }, Errno::EINVAL),
        ("an unknown target", Migrate { target: 3, ..right }, Errno::EINVAL),
        ("reserved", Migrate { reserved: 1, ..right }, Errno::EINVAL),
        ("part of a page", Migrate { address: address + 8, ..right }, Errno::EINVAL),
        ("an odd length", Migrate { length: BYTES - 1, ..right }, Errno::EINVAL),
        ("a range that wraps", Migrate { length: !(PAGE as u64 - 1), ..right }, Errno::EINVAL),
        ("a kernel address", Migrate { address: 0xffff_8000_0000_0000, ..right }, Errno::EFAULT),
        ("nothing", Migrate { address: nowhere(BYTES as usize)?, ..right }, Errno::EFAULT),
    ];
    expect_refusals(wrong, |request| migrate(&device, request))?;
    expect_equal("no bytes", &migrate(&device, Migrate { length: 0, ..right }), &Ok(()))?;
    for target in [MIGRATE_DEVICE, MIGRATE_SYSTEM] {
        expect_equal("right", &migrate(&device, Migrate { target, ..right }), &Ok(()))?;
    }
    expect("it is as it was", region.iter().all(|&byte| byte == 8))
}

/// What comes before the hole has been moved.
pub fn a_hole() -> Outcome {
    let device = Device::open()?;
    let mut region = Region::small_pages(6 * PAGE)?;
    region.fill(8);
    region.punch(4 * PAGE, PAGE)?;
    let request = Migrate {
        address: region.address(),
        length: 6 * PAGE as u64,
        target: MIGRATE_DEVICE,
        reserved: 0,
        moved: 0,
    };
    let raw = raw_queue::open()?;
    expect_equal("a hole", &migrate(&raw, request), &Err(Errno::EFAULT))?;
    let before = device.snapshot(&region[..4 * PAGE])?;
    expect("what comes before is there", before.iter().all(|page| page.is_in_device()))?;
    expect("as it was", region[..4 * PAGE].iter().all(|&byte| byte == 8))?;
    expect("what comes behind is, too", region[5 * PAGE..].iter().all(|&byte| byte == 8))
}

/// Memory of files, and shared memory, is not moved; what a private mapping has of its own is.
pub fn files() -> Outcome {
    let device = Device::open()?;
    let file = memory_file(4 * PAGE as u64)?;
    let mut shared = Region::of_file(&file, 4 * PAGE, Sharing::Shared, Access::Write)?;
    shared.fill(8);
    expect_equal("pages of a file", &device.migrate(&shared[..], Memory::Device)?, &0)?;
    let mut private = Region::of_file(&file, 4 * PAGE, Sharing::Private, Access::Write)?;
    private[PAGE] = 9;
    expect_equal("pages of its own", &device.migrate(&private[..], Memory::Device)?, &1)?;
    expect("all is as it was", shared.iter().all(|&byte| byte == 8))?;
    expect_equal("and what is its own", &(private[0], private[PAGE], private[PAGE + 1]), &(8, 9, 8))
}

pub fn what_is_there_already() -> Outcome {
    let device = Device::open()?;
    let (region, contents) = there(&device, 3)?;
    expect_equal("pages moved again", &device.migrate(&region[..], Memory::Device)?, &0)?;
    expect("it is as it was", region[..] == contents[..])?;
    expect_equal("and back twice", &device.migrate(&region[..], Memory::System)?, &0)
}
