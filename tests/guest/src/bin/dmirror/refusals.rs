// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is wrong with a command, and its errno.

use farfault_client::raw::Kernel;
use farfault_guest_programs::dmirror::{
    CHECK_EXCLUSIVE, EXCLUSIVE, FLAGS, MIGRATE_TO_DEVICE, MIGRATE_TO_SYSTEM, Node, READ, RELEASE,
    SNAPSHOT, WRITE, numbered,
};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing, nowhere};
use farfault_guest_programs::raw_queue::{self, RawQueue};
use nix::errno::Errno;

const COMMANDS: [(&str, u32); 3] = [("READ", READ), ("WRITE", WRITE), ("SNAPSHOT", SNAPSHOT)];
const PAGE_SIZE: u64 = PAGE as u64;

/// Expects every command to refuse each of `ranges` with `errno`.
fn refuse_all(ranges: &[(&str, u64, u64)], errno: Errno) -> Outcome {
    let node = Node::open(0)?;
    let buffer = Region::anonymous(PAGE)?;
    for (command, number) in COMMANDS {
        for &(what, addr, npages) in ranges {
            let found = node.call(number, addr, buffer.address(), npages);
            expect_equal(&format!("{command}, {what}"), &found, &Err(errno))?;
        }
    }
    node.still_works()
}

pub fn ranges_that_are_none() -> Outcome {
    let region = Region::anonymous(2 * PAGE)?;
    let start = region.address();
    let ranges = [
        ("no pages", start, 0),
        ("an odd address", start + 1, 1),
        ("an address between pages", start + PAGE_SIZE / 2, 1),
        ("more bytes than a number can hold", start, 1 << 52),
        ("bytes that are a number's size", start, 1 << 53),
        ("all pages there could be", start, u64::MAX),
        ("a range that ends at 0", PAGE_SIZE.wrapping_neg(), 1),
        ("a range that wraps", PAGE_SIZE.wrapping_neg(), 3),
    ];
    refuse_all(&ranges, Errno::EINVAL)
}

/// The driver's own memory, ring and buffer, is there for the device: behind 1 << 47.
pub fn ranges_beyond_user_space() -> Outcome {
    let region = Region::anonymous(PAGE)?;
    let ranges = [
        ("the kernel's half", 0xffff_8000_0000_0000, 1),
        ("the first page that is no process's", 1 << 47, 1),
        ("the driver's buffer", (1 << 47) + PAGE_SIZE, 64),
        ("a page too many", (1 << 47) - 2 * PAGE_SIZE, 3),
        ("the end of the device's space", (1 << 48) - PAGE_SIZE, 2),
        ("4 PiB", region.address(), 1 << 40),
    ];
    refuse_all(&ranges, Errno::EFAULT)
}

pub fn nothing_mapped() -> Outcome {
    let node = Node::open(0)?;
    let buffer = Region::anonymous(PAGE)?;
    // Below all that is mapped: 1 GiB, then 1 TiB.
    for (addr, npages) in [(nowhere(PAGE)?, 1), (1 << 32, 1 << 18), (1 << 32, 1 << 28)] {
        for (command, number) in [("READ", READ), ("WRITE", WRITE)] {
            let found = node.call(number, addr, buffer.address(), npages);
            expect_equal(&format!("{command} of {npages} pages"), &found, &Err(Errno::EFAULT))?;
        }
    }
    node.still_works()
}

pub fn buffers_that_are_none() -> Outcome {
    let node = Node::open(0)?;
    let region = numbered(2, 1)?;
    let short = Region::anonymous(2 * PAGE)?;
    short.punch(PAGE, PAGE)?;
    let buffers = [
        ("nowhere", nowhere(2 * PAGE)?),
        ("no address", 0),
        ("a kernel address", 0xffff_8000_0000_0000),
        ("the last address", u64::MAX),
    ];
    for (command, number) in COMMANDS {
        for (what, ptr) in buffers {
            let found = node.call(number, region.address(), ptr, 2);
            expect_equal(&format!("{command}, {what}"), &found, &Err(Errno::EFAULT))?;
        }
        expect_equal(
            &format!("{command} without an argument"),
            &node.raw(0xc028_4800 + number, 8),
            &Err(Errno::EFAULT),
        )?;
    }
    for (command, number) in [("READ", READ), ("WRITE", WRITE)] {
        let found = node.call(number, region.address(), short.address(), 2);
        let what = format!("{command}, a buffer that is too short");
        expect_equal(&what, &found, &Err(Errno::EFAULT))?;
    }
    node.still_works()
}

/// Migration there and back, and pages for the device alone.
pub fn commands_for_device_memory() -> Outcome {
    let node = Node::open(0)?;
    let (region, contents) = (numbered(2, 1)?, numbered(2, 1)?);
    let mut buffer = Region::anonymous(2 * PAGE)?;
    let (at, to) = (region.address(), buffer.address());
    let pages = |number| node.call(number, at, to, 2).map(|done| done.pages);
    expect_equal("to the device", &pages(MIGRATE_TO_DEVICE), &Ok(2))?;
    expect("which reads them", buffer[..] == contents[..])?;
    expect_equal("to the system", &pages(MIGRATE_TO_SYSTEM), &Ok(2))?;
    buffer.fill(0);
    expect_equal("for the device alone", &pages(EXCLUSIVE), &Ok(2))?;
    expect("which reads them then", buffer[..] == contents[..])?;
    expect_equal("it has them", &pages(CHECK_EXCLUSIVE), &Err(Errno::EPERM))?;
    expect("until the CPU does", region[..] == contents[..])?;
    expect_equal("it has none", &pages(CHECK_EXCLUSIVE).map(drop), &Ok(()))?;
    for number in [RELEASE, FLAGS] {
        expect_equal(&format!("command {number}"), &pages(number).map(drop), &Ok(()))?;
    }
    region.punch(PAGE, PAGE)?;
    for number in [MIGRATE_TO_DEVICE, MIGRATE_TO_SYSTEM] {
        expect_equal("over a hole", &pages(number), &Err(Errno::EINVAL))?;
    }
    expect_equal("nobody's for the device alone", &pages(EXCLUSIVE), &Err(Errno::EFAULT))?;
    node.still_works()
}

pub fn unknown_ioctls() -> Outcome {
    let node = Node::open(0)?;
    // A number behind the last, another size, another type, no size, a terminal's.
    for request in [0xc028_480a, 0xc028_48ff, 0xc020_4800, 0xc028_4900, 0x4800, 0x5401] {
        let found = node.raw(request, 0);
        expect_equal(&format!("ioctl {request:#x}"), &found, &Err(Errno::ENOTTY))?;
    }
    node.still_works()
}

pub fn hole_in_the_middle() -> Outcome {
    let node = Node::open(0)?;
    let region = Region::small_pages(3 * PAGE)?;
    let data = numbered(3, 1)?;
    let (start, hole) = (region.address(), PAGE);
    region.punch(hole, PAGE)?;
    for (command, number) in [("READ", READ), ("WRITE", WRITE)] {
        let found = node.call(number, start, data.address(), 3);
        expect_equal(command, &found, &Err(Errno::EFAULT))?;
    }
    expect("what comes before the hole is written", region[..hole] == data[..hole])?;
    let behind = &region[2 * PAGE..];
    expect("what comes behind it is not", behind.iter().all(|&byte| byte == 0))?;
    node.still_works()
}

pub fn read_only_page_in_the_middle() -> Outcome {
    let node = Node::open(0)?;
    let mut region = Region::small_pages(3 * PAGE)?;
    let mut back = Region::small_pages(3 * PAGE)?;
    let data = numbered(3, 1)?;
    region.protect(PAGE, PAGE, Access::Read)?;
    expect_equal("WRITE", &node.write(&mut region, &data), &Err(Errno::EPERM))?;
    let read = node.read(&region, &mut back)?;
    expect_equal("pages that can be read", &read.pages, &3)?;
    expect("it is as it was", region[PAGE..2 * PAGE].iter().all(|&byte| byte == 0))?;
    region.protect(PAGE, PAGE, Access::Write)?;
    node.write(&mut region, &data)?;
    expect("it can be written again", region[..] == data[..])?;
    node.still_works()
}

pub fn mapping_too_large() -> Outcome {
    let node = Node::open(0)?;
    let map = |length| Region::of_file(&node.0, length, Sharing::Shared, Access::Write).map(drop);
    expect_equal("2 MiB", &map(2 << 20), &Ok(()))?;
    expect_equal("a page more", &map((2 << 20) + PAGE), &Err(Errno::EINVAL))?;
    expect_equal("1 TiB", &map(1 << 40), &Err(Errno::EINVAL))?;
    node.still_works()
}

pub fn every_queue_taken() -> Outcome {
    let node = Node::open(0)?;
    let devices = [raw_queue::open()?, raw_queue::open()?]; // a context may have half of them
    let mut queues = Vec::new();
    for device in &devices {
        while let Ok(queue) = RawQueue::new(device, 2) {
            queues.push(queue);
        }
    }
    expect_equal("queues", &(queues.len() as u32), &devices[0].info()?.queues)?;
    let region = numbered(1, 1)?;
    let mut back = Region::anonymous(PAGE)?;
    expect_equal("READ", &node.read(&region, &mut back), &Err(Errno::ENOSPC))?;
    drop(queues);
    node.still_works()
}
