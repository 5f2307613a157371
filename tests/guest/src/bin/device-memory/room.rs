// SPDX-License-Identifier: Apache-2.0 OR MIT
//! More than there is room for.

use crate::place::{count_there, seen};
use farfault_client::Memory;
use farfault_guest_programs::counters::{get, growth};
use farfault_guest_programs::device_and_queue;
use farfault_guest_programs::ktap::{Outcome, expect};
use farfault_guest_programs::memory::{PAGE, Region};

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
