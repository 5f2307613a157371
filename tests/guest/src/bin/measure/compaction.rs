// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compaction, and memory made such that there is something for it to do: buffers
//! at the start of memory, and free pages between others at its end.

use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::{number_of, read};
use farfault_guest_programs::memory::{HUGE_PAGE, MADV_DONTNEED, PAGE, Region};
use farfault_guest_programs::pagemap::Pagemap;
use std::fs;

/// Has the kernel compact all memory.
pub fn run() -> Result<(), Failure> {
    Ok(fs::write("/proc/sys/vm/compact_memory", "1")?)
}

/// So much of the start is for tries to get a buffer there.
const FIRST: usize = 64 << 20;
/// So much lies at the end, more than all that compaction could move there.
const LAST: usize = 96 << 20;

/// All free memory is taken but for some at its start, and pieces elsewhere.
pub struct LowMemory {
    /// Bytes that are always free: with less, the kernel reclaims, or kills.
    spare: usize,
    taken: Region,
    /// Its huge pages as they lie in memory: frame, and offset in the region.
    order: Vec<(u64, usize)>,
}

/// Free pages at the end of memory, for as long as it is there.
pub struct Room {
    _between: Region,
}

impl LowMemory {
    /// Leaves enough for two buffers of `bytes`.
    pub fn left_for(bytes: usize) -> Result<Self, Failure> {
        let spare = spare()?;
        let taken = filled(Region::huge_pages(free()?.saturating_sub(spare))?);
        let order = by_frame(&taken)?;
        let first = (2 * bytes + FIRST + spare) / HUGE_PAGE;
        if first + LAST / HUGE_PAGE > order.len() {
            return Err("there is too little memory for compaction to be seen".into());
        }
        for &(_, offset) in &order[..first] {
            taken.advise_range(offset, HUGE_PAGE, MADV_DONTNEED)?;
        }
        Ok(Self { spare, taken, order })
    }

    /// Two buffers in the first half of memory, their pages in turn one beside the other. The
    /// pieces elsewhere are what the kernel gives first: they are taken until there are none.
    pub fn twins(
        &self,
        fresh: impl Fn() -> nix::Result<Region>,
    ) -> Result<(Region, Region), Failure> {
        let wanted = DMA_ZONE..self.order[self.order.len() / 2].0;
        let pagemap = Pagemap::own()?;
        let lies_there = |region: &Region| -> Result<bool, Failure> {
            let entries = pagemap.entries(region.address(), region.len() / PAGE)?;
            Ok(entries.iter().all(|entry| wanted.contains(&entry.frame())))
        };
        let mut pieces = Vec::new();
        while free()? > self.spare {
            let (mut one, mut other) = (fresh()?, fresh()?);
            for (one, other) in one.iter_mut().zip(other.iter_mut()).step_by(PAGE) {
                (*one, *other) = (1, 1);
            }
            if lies_there(&one)? && lies_there(&other)? {
                return Ok((one, other));
            }
            pieces.push((one, other));
        }
        Err("the kernel gives no memory at its start".into())
    }

    /// Gives everything back but for every eighth page at the end: compaction fills
    /// such holes, it takes no huge page.
    pub fn make_room(self) -> Result<Room, Failure> {
        const KEPT: usize = 8;
        let Self { taken, order, .. } = self;
        let (rest, last) = order.split_at(order.len() - LAST / HUGE_PAGE);
        for &(_, offset) in rest {
            taken.advise_range(offset, HUGE_PAGE, MADV_DONTNEED)?;
        }
        for &(_, offset) in last {
            let start = taken.address() + offset as u64;
            let range =
                format!("{},{start:#x},{:#x}", std::process::id(), start + HUGE_PAGE as u64);
            fs::write("/sys/kernel/debug/split_huge_pages", range)?;
            for page in (0..HUGE_PAGE).step_by(KEPT * PAGE) {
                taken.advise_range(offset + page, (KEPT - 1) * PAGE, MADV_DONTNEED)?;
            }
        }
        Ok(Room { _between: taken })
    }
}

/// With all its pages there.
fn filled(mut region: Region) -> Region {
    region.iter_mut().step_by(PAGE).for_each(|place| *place = 1);
    region
}

/// What lies before is a zone of its own, which pages do not leave.
const DMA_ZONE: u64 = (16 << 20) / PAGE as u64;

/// Frame and offset of the huge pages of a region, in the order in which they lie in memory.
fn by_frame(region: &Region) -> Result<Vec<(u64, usize)>, Failure> {
    let pagemap = Pagemap::own()?;
    let mut pages = Vec::new();
    for offset in (0..region.len()).step_by(HUGE_PAGE) {
        let frame = pagemap.entry(region.address() + offset as u64)?.frame();
        if frame >= DMA_ZONE && frame.is_multiple_of((HUGE_PAGE / PAGE) as u64) {
            pages.push((frame, offset));
        }
    }
    pages.sort_unstable();
    Ok(pages)
}

/// More than the kernel wants to have free in all zones, which is half as much again as the least.
fn spare() -> Result<usize, Failure> {
    let least: usize = read("/proc/sys/vm/min_free_kbytes")?.trim().parse()?;
    Ok((2 * least * 1024).next_multiple_of(HUGE_PAGE))
}

/// Bytes of memory that nobody uses.
fn free() -> Result<usize, Failure> {
    Ok(number_of("MemFree:", &read("/proc/meminfo")?)? as usize * 1024)
}
