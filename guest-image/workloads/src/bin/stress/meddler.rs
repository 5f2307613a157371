// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A thread that keeps the address space in motion beside the buffers in use,
//! and by forking makes all of it copy-on-write again and again.

use crate::pace::Pace;
use farfault_workloads::Failure;
use farfault_workloads::children::Child;
use farfault_workloads::memory::{Access, HUGE_PAGE, MADV_DONTNEED, PAGE, Region};
use farfault_workloads::random::Random;

/// Meddles once a round until it is over; returns how often.
pub fn run(seed: u64, process: u64, pace: &Pace, forks: bool) -> Result<u64, Failure> {
    let mut random = Random::new(seed, &[process, u64::MAX]);
    let mut regions = Vec::new();
    let mut done = 0;
    while pace.await_more(done) {
        match random.below(6) {
            0 | 1 => regions.push(region(&mut random)?),
            2 => {
                let gone = regions.len() / 2;
                regions.truncate(gone);
            }
            3 => {
                for region in &mut regions {
                    region.relocate()?;
                }
            }
            4 => {
                for region in &regions {
                    let pages = random.range(region.len(), PAGE);
                    region.protect(pages.start, pages.len(), Access::None)?;
                    region.advise_range(pages.start, pages.len(), MADV_DONTNEED)?;
                    region.protect(0, region.len(), Access::Write)?;
                }
            }
            _ if forks => Child::start(|| Ok(()))?.succeed()?,
            _ => {}
        }
        done += 1;
    }
    Ok(done)
}

fn region(random: &mut Random) -> Result<Region, Failure> {
    let mut region = match random.below(3) {
        0 => Region::small_pages(16 * PAGE)?,
        1 => Region::shared_anonymous(16 * PAGE)?,
        _ => Region::huge_pages(HUGE_PAGE)?,
    };
    let range = random.range(region.len(), PAGE);
    region[range].fill(1);
    Ok(region)
}
