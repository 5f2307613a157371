// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `snapshots [TEST…]`: what the driver says of memory is how the CPU maps it, and
//! advice does what it should. Prints KTAP.

use farfault_client::raw::Kernel;
use farfault_client::raw::uapi::{ADVISE_DONT_NEED, Advise};
use farfault_client::{Advice, Device, Page};
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal, expect_refusals};
use farfault_guest_programs::memory::{self, Access, HUGE_PAGE, PAGE, Region, Sharing};
use farfault_guest_programs::{Failure, device_and_queue, raw_queue, test_program};
use nix::errno::Errno;

test_program![
    fresh_memory_is_not_there,
    read_memory_is_the_zero_page,
    written_memory_can_be_written,
    huge_pages_are_large,
    memory_without_access_is_an_error,
    a_clean_private_file_is_read_only,
    a_long_range_is_seen_whole,
    looking_faults_nothing_in,
    what_the_device_has_is_mirrored,
    memory_not_needed_is_forgotten,
    memory_to_be_read_is_there,
    memory_to_be_written_is_there,
    advice_passes_over_what_is_not,
    wrong_snapshots_are_refused,
    wrong_advice_is_refused,
];

const PAGES: usize = 8;

fn look(region: &Region) -> Result<Vec<Page>, Failure> {
    Ok(Device::open()?.snapshot(&region[..])?)
}

fn all(pages: &[Page], what: &str, holds: impl Fn(&Page) -> bool) -> Outcome {
    expect(&format!("{what}: {pages:?}"), !pages.is_empty() && pages.iter().all(holds))
}

fn fresh_memory_is_not_there() -> Outcome {
    let pages = look(&Region::small_pages(PAGES * PAGE)?)?;
    expect_equal("pages", &pages.len(), &PAGES)?;
    all(&pages, "none of it", |p| !p.is_readable() && !p.is_error() && !p.is_mirrored())
}

fn read_memory_is_the_zero_page() -> Outcome {
    let region = Region::small_pages(PAGES * PAGE)?;
    expect("zero", region.iter().all(|&byte| byte == 0))?;
    all(&look(&region)?, "zero pages", |p| {
        p.is_readable() && p.is_zero_page() && !p.is_writable() && !p.is_large()
    })
}

fn written_memory_can_be_written() -> Outcome {
    let mut region = Region::small_pages(PAGES * PAGE)?;
    region.fill(1);
    all(&look(&region)?, "writable", |p| p.is_writable() && !p.is_zero_page() && !p.is_large())
}

fn huge_pages_are_large() -> Outcome {
    memory::allow_huge_pages()?;
    let mut region = Region::huge_pages(HUGE_PAGE)?;
    region.fill(1);
    let pages = look(&region)?;
    expect_equal("pages", &pages.len(), &(HUGE_PAGE / PAGE))?;
    all(&pages, "large", |p| p.is_writable() && p.is_large())
}

fn memory_without_access_is_an_error() -> Outcome {
    let mut region = Region::small_pages(3 * PAGE)?;
    region.fill(1);
    region.protect(PAGE, PAGE, Access::None)?;
    let pages = look(&region)?;
    expect_equal(
        "errors",
        &pages.iter().map(|p| p.is_error()).collect(),
        &vec![false, true, false],
    )?;
    expect("its neighbours are there", pages[0].is_writable() && pages[2].is_writable())
}

fn a_clean_private_file_is_read_only() -> Outcome {
    let file = memory::memory_file((PAGES * PAGE) as u64)?;
    Region::of_file(&file, PAGES * PAGE, Sharing::Shared, Access::Write)?.fill(3);
    let mut region = Region::of_file(&file, PAGES * PAGE, Sharing::Private, Access::Write)?;
    expect("the file's", region.iter().all(|&byte| byte == 3))?;
    region[0] = 4;
    let pages = look(&region)?;
    expect(&format!("the first is its own: {pages:?}"), pages[0].is_writable())?;
    all(&pages[1..], "the file's", |p| p.is_readable() && !p.is_writable())
}

fn a_long_range_is_seen_whole() -> Outcome {
    let count = 3 * HUGE_PAGE / PAGE + 5;
    let mut region = Region::small_pages(count * PAGE)?;
    for index in (0..count).step_by(3) {
        region[index * PAGE] = 1;
    }
    let pages = look(&region)?;
    expect_equal("pages", &pages.len(), &count)?;
    let wrong = pages.iter().enumerate().find(|(i, page)| page.is_writable() != (i % 3 == 0));
    expect(&format!("each third is there: {wrong:?}"), wrong.is_none())
}

fn looking_faults_nothing_in() -> Outcome {
    let region = Region::small_pages(PAGES * PAGE)?;
    look(&region)?;
    all(&look(&region)?, "still none", |p| !p.is_readable())
}

fn what_the_device_has_is_mirrored() -> Outcome {
    let mut region = Region::small_pages(PAGES * PAGE)?;
    let (device, mut queue) = device_and_queue()?;
    queue.fill(&mut region[2 * PAGE..5 * PAGE], 7_u8)?;
    let mirrored: Vec<bool> =
        device.snapshot(&region[..])?.iter().map(|page| page.is_mirrored()).collect();
    expect_equal("mirrored", &mirrored, &vec![false, false, true, true, true, false, false, false])
}

fn memory_not_needed_is_forgotten() -> Outcome {
    let mut region = Region::small_pages(PAGES * PAGE)?;
    let (device, mut queue) = device_and_queue()?;
    queue.fill(&mut region[..], 7_u8)?;
    device.advise(&region[..], Advice::DontNeed)?;
    let pages = device.snapshot(&region[..])?;
    all(&pages, "only the CPU has it", |p| !p.is_mirrored() && p.is_writable())?;
    expect("contents stay", region.iter().all(|&byte| byte == 7))?;
    let faults = growth("faults", || Ok(queue.fill(&mut region[..], 8_u8)?))?;
    expect("it faults again", faults > 0)?;
    expect("and is written", region.iter().all(|&byte| byte == 8))
}

fn memory_to_be_read_is_there() -> Outcome {
    let region = Region::small_pages(PAGES * PAGE)?;
    let device = Device::open()?;
    device.advise(&region[..], Advice::WillRead)?;
    all(&device.snapshot(&region[..])?, "zero pages, mirrored", |p| {
        p.is_mirrored() && p.is_zero_page() && !p.is_writable()
    })
}

fn memory_to_be_written_is_there() -> Outcome {
    let region = Region::small_pages(PAGES * PAGE)?;
    let device = Device::open()?;
    device.advise(&region[..], Advice::WillWrite)?;
    all(&device.snapshot(&region[..])?, "writable, mirrored", |p| {
        p.is_mirrored() && p.is_writable()
    })
}

fn advice_passes_over_what_is_not() -> Outcome {
    let region = Region::small_pages(PAGES * PAGE)?;
    region.protect(3 * PAGE, PAGE, Access::None)?;
    region.protect(5 * PAGE, PAGE, Access::Read)?;
    let device = Device::open()?;
    device.advise(&region[..], Advice::WillWrite)?;
    let mirrored: Vec<bool> =
        device.snapshot(&region[..])?.iter().map(|page| page.is_mirrored()).collect();
    expect_equal("mirrored", &mirrored, &vec![true, true, true, false, true, false, true, true])
}

fn wrong_snapshots_are_refused() -> Outcome {
    let device = raw_queue::open()?;
    let region = Region::anonymous(PAGE)?;
    let mut byte = [0xee; 1];
    let wrong = [
        ("misaligned", region.address() + 8, Errno::EINVAL),
        ("over the end", (1 << 47) - PAGE as u64, Errno::EFAULT),
        ("a kernel address", 0xffff_8000_0000_0000, Errno::EFAULT),
        ("one that wraps", u64::MAX - PAGE as u64 + 1, Errno::EINVAL),
    ];
    expect_refusals(wrong, |address| device.snapshot(address, &mut byte))?;
    expect_equal("no page", &device.snapshot(region.address(), &mut []), &Ok(()))?;
    expect_equal("untouched", &byte, &[0xee])
}

fn wrong_advice_is_refused() -> Outcome {
    let device = raw_queue::open()?;
    let region = Region::anonymous(PAGE)?;
    let right = Advise {
        address: region.address(),
        length: PAGE as u64,
        advice: ADVISE_DONT_NEED,
        reserved: 0,
    };
    let wrong = [
        ("unknown", Advise { advice: 0, ..right }, Errno::EINVAL),
        ("unknown", Advise { advice: 99, ..right }, Errno::EINVAL),
        ("reserved", Advise { reserved: 1, ..right }, Errno::EINVAL),
        ("misaligned", Advise { address: right.address + 1, ..right }, Errno::EINVAL),
        ("half a page", Advise { length: 2048, ..right }, Errno::EINVAL),
        ("wraps", Advise { length: u64::MAX << 12, ..right }, Errno::EINVAL),
        ("over the end", Advise { length: 1 << 47, ..right }, Errno::EFAULT),
    ];
    expect_refusals(wrong, |request| device.advise(&request))?;
    expect_equal("nothing", &device.advise(&Advise { length: 0, ..right }), &Ok(()))
}
