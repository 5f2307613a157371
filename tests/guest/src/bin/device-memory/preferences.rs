// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What goes to device memory when the device uses it.

use crate::place::{PAGES, seen};
use farfault_client::{Advice, Device, Memory};
use farfault_guest_programs::counters::{get, growth};
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::device_pages::count_there;
use farfault_guest_programs::dmirror::numbered;
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE, Region};
use farfault_guest_programs::sysfs;

const SEED: u64 = 7;

/// One fault of the device, one migration, and no second fault.
pub fn a_fault_moves_what_is_preferred_there() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let (mut region, contents) = (numbered(PAGES, SEED)?, numbered(PAGES, SEED)?);
    device.advise(&region[..], Advice::PreferDevice)?;
    expect_equal("pages there before", &count_there(&device, &region)?, &0)?;
    expect("the device reads it", seen(&mut queue, &region)?[..] == contents[..])?;
    expect_equal("pages there", &count_there(&device, &region)?, &PAGES)?;
    let moved = get("moved_preferred")?;
    let faults = growth("faults", || Ok(queue.fill(&mut region[..], 5_u8)?))?;
    expect_equal("faults to write it", &faults, &0)?;
    expect_equal("pages moved since", &(get("moved_preferred")? - moved), &0)?;
    expect("what the device wrote", region.iter().all(|&byte| byte == 5))
}

/// Memory that nobody has touched begins there.
pub fn fresh_memory_begins_there() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let mut region = Region::huge_pages(HUGE_PAGE)?;
    device.advise(&region[..], Advice::PreferDevice)?;
    let [copies, leaves] = [get("copies")?, get("leaves_2m")?];
    queue.fill(&mut region[..PAGE], 5_u8)?;
    expect_equal("copies", &(get("copies")? - copies), &1)?;
    expect_equal("2 MiB leaves", &(get("leaves_2m")? - leaves), &1)?;
    let faults = growth("faults", || Ok(queue.fill(&mut region[PAGE..], 6_u8)?))?;
    expect_equal("faults for the rest", &faults, &0)?;
    expect("the beginning", region[..PAGE].iter().all(|&byte| byte == 5))?;
    expect("and the rest", region[PAGE..].iter().all(|&byte| byte == 6))
}

/// Advice is for addresses, and for no more of them than it names.
pub fn what_is_not_preferred_stays() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let (region, contents) = (numbered(PAGES, SEED)?, numbered(PAGES, SEED)?);
    device.advise(&region[4 * PAGE..9 * PAGE], Advice::PreferDevice)?;
    device.advise(&region[5 * PAGE..6 * PAGE], Advice::PreferNothing)?;
    for _ in 0..2 {
        expect("the device reads it", seen(&mut queue, &region)?[..] == contents[..])?;
    }
    let there: Vec<usize> = device
        .snapshot(&region[..])?
        .iter()
        .enumerate()
        .filter_map(|(number, page)| page.is_in_device().then_some(number))
        .collect();
    // Each fault moves what is around it, and two of the pages may fault in one group.
    expect("some of those that are", !there.is_empty())?;
    expect(&format!("none but those that are: {there:?}"), {
        there.iter().all(|page| [4, 6, 7, 8].contains(page))
    })?;
    expect("the CPU reads it", region[..] == contents[..])
}

/// It stays so when something else is mapped there.
pub fn advice_outlives_a_mapping() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let mut region = huge_page(1)?;
    device.advise(&region[..], Advice::PreferDevice)?;
    region.renew()?;
    queue.fill(&mut region[..], 5_u8)?;
    expect_equal("pages there", &count_there(&device, &region)?, &(HUGE_PAGE / PAGE))?;
    expect("what the device wrote", region.iter().all(|&byte| byte == 5))
}

/// What cannot be had by the device's memory is used where it is.
pub fn more_than_there_is_room_for() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let vram = usize::try_from(device.info().vram)?;
    let mut region = Region::small_pages(2 * vram)?;
    device.advise(&region[..], Advice::PreferDevice)?;
    for turn in 1..=2_u8 {
        queue.fill(&mut region[..], turn)?;
        expect("no more there than there is", get("device_pages")? <= (vram / PAGE) as u64)?;
    }
    expect("what the device wrote", region.iter().all(|&byte| byte == 2))?;
    expect_equal("moved on request", &device.migrate(&region[..PAGE], Memory::System)?, &0)
}

pub fn a_device_forgets_at_the_end() -> Outcome {
    let region = numbered(1, SEED)?;
    Device::open()?.advise(&region[..], Advice::PreferDevice)?;
    let (device, mut queue) = device_and_queue()?;
    seen(&mut queue, &region)?;
    expect_equal("pages there", &count_there(&device, &region)?, &0)
}

/// CPU and device use a page in turn: after a few moves it is left where both can use it.
pub fn what_goes_to_and_fro_rests() -> Outcome {
    const ROUNDS: u64 = 100;
    let (device, mut queue) = device_and_queue()?;
    let mut region = Region::small_pages(PAGE)?;
    region.fill(0);
    device.advise(&region[..], Advice::PreferDevice)?;
    let before = [get("moved_preferred")?, get("moves_damped")?];
    for round in 0..ROUNDS {
        queue.fill(&mut region[..8], round as u8 + 1)?;
        expect("what the device wrote", region[..8].iter().all(|&byte| byte == round as u8 + 1))?;
        region[8] = round as u8;
    }
    let [moved, damped] = [get("moved_preferred")? - before[0], get("moves_damped")? - before[1]];
    println!("# {moved} moves in {ROUNDS} rounds, {damped} left out");
    expect("it is left where it is for most of the time", moved < ROUNDS / 2)?;
    expect("and that is counted", damped > 0)
}

/// And where the CPU has it back, both read it there.
pub fn what_is_only_read_stays() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let (mut region, contents) = (numbered(PAGES, SEED)?, numbered(PAGES, SEED)?);
    device.advise(&region[..], Advice::PreferWritten)?;
    for written in [false, true, false] {
        if written {
            queue.fill(&mut region[..8], 5_u8)?;
            expect(
                "what is written is there",
                device.snapshot(&region[..PAGE])?[0].is_in_device(),
            )?;
        }
        expect("what the CPU reads", region[8..] == contents[8..])?;
        expect("what the device reads", seen(&mut queue, &region)?[8..] == contents[8..])?;
        expect_equal("pages there that are read", &count_there(&device, &region)?, &0)?;
    }
    Ok(())
}

/// The module's parameter decides, and advice excepts from it.
pub fn what_nobody_advises_on() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let mut region = Region::huge_pages(2 * HUGE_PAGE)?;
    region.fill(1);
    let (said, excepted) = (&region[..PAGE], &region[HUGE_PAGE..]);
    device.advise(excepted, Advice::PreferNothing)?;
    queue.word_count(said)?;
    queue.word_count(excepted)?;
    let pages = device.snapshot(&region[..])?;
    let preferred = sysfs::parameter("prefer_device")?.starts_with('Y');
    expect_equal("its page is there", &pages[0].is_in_device(), &preferred)?;
    expect(
        "none of what is excepted is",
        !pages[HUGE_PAGE / PAGE..].iter().any(|p| p.is_in_device()),
    )?;
    expect("all is as it was", region.iter().all(|&byte| byte == 1))
}
