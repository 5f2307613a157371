// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `dma [TEST…]`: behind an IOMMU each leaf of the device is a DMA mapping, which is
//! there as long as the leaf and no longer, and what the device writes through it
//! is not lost. Prints KTAP; needs a guest with `--iommu`.

use farfault_client::{Advice, Device};
use farfault_guest_programs::counters::{self, await_gauges, gauges};
use farfault_guest_programs::huge_page::huge_page;
use farfault_guest_programs::kernel_files::drain;
use farfault_guest_programs::ktap::{Outcome, Skip, expect, expect_equal};
use farfault_guest_programs::memory::{self, HUGE_PAGE, MADV_DONTNEED, PAGE, Region};
use farfault_guest_programs::{Failure, test_program};
use nix::libc::{MADV_FREE, MADV_PAGEOUT};

test_program![
    each_small_page_is_a_mapping,
    a_huge_page_is_one_mapping,
    small_pages_together_stay_apart,
    what_is_taken_is_unmapped,
    a_huge_page_goes_as_a_whole,
    what_was_written_is_kept,
    what_is_given_up_is_unmapped,
    neighbours_are_unmapped_at_once,
    the_end_unmaps_all,
];

const PAGES: usize = 24;

/// A device behind an IOMMU, of which a page that is mapped for a moment shows.
fn device() -> Result<Device, Failure> {
    let device = Device::open()?;
    let mut page = Region::small_pages(PAGE)?;
    device.prefetch_mut(&mut page[..])?;
    match mappings()? {
        0 => Err(Skip("the device is not behind an IOMMU".to_owned()).into()),
        _ => Ok(device),
    }
}

fn mappings() -> Result<u64, Failure> {
    counters::get("dma_mappings")
}

/// By how much the number of mappings changes while `work` is done.
fn change(work: impl FnOnce() -> Outcome) -> Result<i64, Failure> {
    let before = mappings()?;
    work()?;
    Ok(mappings()? as i64 - before as i64)
}

fn small(value: u8) -> Result<Region, Failure> {
    let mut region = Region::small_pages(PAGES * PAGE)?;
    region.fill(value);
    Ok(region)
}

fn each_small_page_is_a_mapping() -> Outcome {
    let (device, mut region) = (device()?, small(1)?);
    let made = change(|| Ok(device.prefetch_mut(&mut region[..])?))?;
    expect_equal("mappings made", &made, &(PAGES as i64))?;
    let again = change(|| Ok(device.prefetch_mut(&mut region[..])?))?;
    expect_equal("mappings made by a second time", &again, &0)
}

fn a_huge_page_is_one_mapping() -> Outcome {
    let (device, mut region) = (device()?, huge_page(1)?);
    let made = change(|| Ok(device.prefetch_mut(&mut region[..])?))?;
    expect_equal("mappings made", &made, &1)
}

/// Their mappings are several, whatever the frames.
fn small_pages_together_stay_apart() -> Outcome {
    let (device, mut region) = (device()?, huge_page(1)?);
    region.protect(5 * PAGE, PAGE, memory::Access::Read)?;
    region.protect(5 * PAGE, PAGE, memory::Access::Write)?;
    let made = change(|| Ok(device.prefetch_mut(&mut region[..])?))?;
    expect_equal("mappings made", &made, &((HUGE_PAGE / PAGE) as i64))
}

fn what_is_taken_is_unmapped() -> Outcome {
    let (device, mut region) = (device()?, small(1)?);
    let mut queue = device.queue(16)?;
    queue.fill(&mut region[..], 2_u8)?;
    let taken = change(|| Ok(region.advise_range(3 * PAGE, 2 * PAGE, MADV_DONTNEED)?))?;
    expect_equal("mappings when madvise() has returned", &taken, &-2)?;
    let back = change(|| Ok(queue.fill(&mut region[..], 3_u8)?))?;
    expect_equal("mappings when the device has come again", &back, &2)?;
    expect("all of it is written", region.iter().all(|&byte| byte == 3))?;
    let gone = change(|| {
        drop(region);
        Ok(())
    })?;
    expect_equal("mappings when munmap() has returned", &gone, &-(PAGES as i64))
}

fn a_huge_page_goes_as_a_whole() -> Outcome {
    let (device, mut region) = (device()?, huge_page(1)?);
    let mut queue = device.queue(16)?;
    queue.fill(&mut region[..], 2_u8)?;
    let split = counters::get("leaves_split")?;
    let taken = change(|| Ok(region.advise_range(7 * PAGE, PAGE, MADV_DONTNEED)?))?;
    expect_equal("mappings when madvise() has returned", &taken, &-1)?;
    expect_equal("leaves split", &counters::get("leaves_split")?, &split)?;
    let mut copy = vec![0_u8; HUGE_PAGE];
    queue.copy(&region[..], &mut copy)?;
    let right = |page: usize| if page == 7 { 0 } else { 2 };
    expect("the device reads what is there", {
        copy.chunks(PAGE).enumerate().all(|(i, page)| page.iter().all(|&b| b == right(i)))
    })
}

/// A page that is clean and writable, written by the device: its frame, which the
/// DMA address does not tell, has to be marked dirty.
fn what_was_written_is_kept() -> Outcome {
    let (device, mut region) = (device()?, small(1)?);
    let mut queue = device.queue(16)?;
    // Reclaim finds no page that a CPU still keeps to itself.
    drain()?;
    region.advise(MADV_FREE)?;
    let dirtied = counters::get("pages_dirtied")?;
    queue.fill(&mut region[..], 4_u8)?;
    drain()?;
    region.advise(MADV_PAGEOUT)?;
    let dirtied = counters::get("pages_dirtied")? - dirtied;
    expect("each page was marked dirty", dirtied >= PAGES as u64)?;
    expect("what the device wrote is there", region.iter().all(|&byte| byte == 4))
}

fn what_is_given_up_is_unmapped() -> Outcome {
    let (device, mut region) = (device()?, small(1)?);
    device.prefetch_mut(&mut region[..])?;
    let half = PAGES / 2;
    let given = change(|| Ok(device.advise(&region[..half * PAGE], Advice::DontNeed)?))?;
    expect_equal("mappings given up", &given, &-(half as i64))
}

/// 2 MiB and 512 MiB of 4 KiB leaves: each time that mappings are undone the IOMMU is waited
/// for, so it is done once for each of the driver's intervals of 64 MiB, not for each page.
fn neighbours_are_unmapped_at_once() -> Outcome {
    const INTERVAL: usize = 64 << 20;
    for length in [2 << 20, 512 << 20] {
        let (device, region) = (device()?, Region::small_pages(length)?);
        // To be read only: of all these pages there is but one, that of zeroes.
        let made = change(|| Ok(device.prefetch(&region[..])?))?;
        expect_equal("mappings made", &made, &((length / PAGE) as i64))?;
        let before = counters::get("dma_unmaps")?;
        let taken = change(|| Ok(region.advise(MADV_DONTNEED)?))?;
        expect_equal("mappings when madvise() has returned", &taken, &-made)?;
        let unmaps = counters::get("dma_unmaps")? - before;
        expect(
            &format!("{} pages are unmapped in {unmaps} turns", length / PAGE),
            unmaps <= length.div_ceil(INTERVAL) as u64 + 1,
        )?;
    }
    Ok(())
}

fn the_end_unmaps_all() -> Outcome {
    let before = gauges()?;
    let device = device()?;
    let (mut small, mut huge) = (small(1)?, huge_page(1)?);
    device.prefetch_mut(&mut small[..])?;
    device.prefetch_mut(&mut huge[..])?;
    expect("they are mapped", mappings()? > PAGES as u64)?;
    drop(device);
    await_gauges(before)
}
