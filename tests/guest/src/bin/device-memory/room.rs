// SPDX-License-Identifier: Apache-2.0 OR MIT
//! More than there is room for.

use crate::place::seen;
use farfault_client::Memory;
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::counters::{get, growth};
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::device_pages::count_there;
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::ktap::{Outcome, expect};
use farfault_guest_programs::memory::{PAGE, Region};

/// There is room enough, but not in one piece: a huge page goes to small ones. What a child has of
/// it is as it was, though Linux would map a part of it as the whole.
pub fn no_room_in_one_piece() -> Outcome {
    const PIECE: usize = 16 * PAGE;
    let (device, mut queue) = device_and_queue()?;
    let vram = usize::try_from(device.info().vram)?;
    let mut filler = Region::small_pages(vram)?;
    filler.fill(1);
    device.migrate(&filler[..], Memory::Device)?;
    for piece in filler.chunks(PIECE).step_by(2) {
        device.migrate(piece, Memory::System)?;
    }
    let region = huge_page(3)?;
    let moved = Signpost::new()?;
    let child = Child::start(|| {
        moved.wait()?;
        expect("what the child has", region.iter().all(|&byte| byte == 3))
    })?;
    let copies = growth("copies", || {
        device.migrate(&region[..], Memory::Device)?;
        Ok(())
    })?;
    moved.reach()?;
    child.succeed()?;
    let there = count_there(&device, &region)?;
    expect("it went there piece by piece", there == 0 || copies > 1)?;
    expect("the device reads it", seen(&mut queue, &region)?.iter().all(|&byte| byte == 3))?;
    expect("and the CPU does", region.iter().all(|&byte| byte == 3))?;
    expect("and what was there before", filler.iter().all(|&byte| byte == 1))
}

/// What was used longest ago makes room.
pub fn more_than_there_is() -> Outcome {
    let (device, mut queue) = device_and_queue()?;
    let vram = usize::try_from(device.info().vram)?;
    let mut region = Region::small_pages(vram + vram / 2)?;
    for (number, page) in region.chunks_mut(PAGE).enumerate() {
        page[..8].copy_from_slice(&number.to_le_bytes());
    }
    let evicted = growth("moved_evicted", || {
        device.migrate(&region[..], Memory::Device)?;
        Ok(())
    })?;
    expect("room was made", evicted >= (vram / 2 / PAGE) as u64)?;
    expect("and used", count_there(&device, &region)? > vram / PAGE / 2)?;
    expect("no more than there is", get("device_pages")? <= (vram / PAGE) as u64)?;
    let copy = seen(&mut queue, &region)?;
    let right = |region: &Region| {
        region.chunks(PAGE).enumerate().all(|(number, page)| page[..8] == number.to_le_bytes())
    };
    expect("the device reads it", right(&copy))?;
    expect("and the CPU does", right(&region))
}
