// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Moving memory to the device.

use crate::Failure;
use crate::ktap::expect_equal;
use crate::memory::{PAGE, Region};
use farfault_client::{Device, Memory};
use std::thread;

/// How often to ask: mm does not let go of what somebody has in hand for a moment.
const TRIES: usize = 100;

/// Moves all of a region to device memory.
pub fn move_there(device: &Device, region: &Region) -> Result<(), Failure> {
    let (mut moved, pages) = (0, (region.len() / PAGE) as u64);
    for _ in 0..TRIES {
        moved += device.migrate(&region[..], Memory::Device)?;
        if moved >= pages {
            break;
        }
        thread::yield_now();
    }
    expect_equal("pages moved", &moved, &pages)
}

/// How many pages of it are there.
pub fn count_there(device: &Device, region: &Region) -> Result<usize, Failure> {
    Ok(device.snapshot(&region[..])?.iter().filter(|page| page.is_in_device()).count())
}
