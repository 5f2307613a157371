// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory seen as words that everybody changes by atomic operations.
#![allow(unsafe_code, reason = "words in raw mappings")]

use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::{PAGE, Region};
use std::slice;
use std::sync::atomic::AtomicU64;

/// A page of zeroes.
pub fn page() -> Result<Region, Failure> {
    let mut region = Region::small_pages(PAGE)?;
    region.fill(0);
    Ok(region)
}

/// The words of a region.
pub fn words(region: &Region) -> &[AtomicU64] {
    // SAFETY: it is aligned, as regions are; it is mapped, and writable or the test means it not
    // to be, as long as the region is borrowed; and all who use it meanwhile do so in this way.
    unsafe { slice::from_raw_parts(region.as_ptr().cast(), region.len() / 8) }
}

/// One of them.
pub fn word(region: &Region, index: usize) -> &AtomicU64 {
    &words(region)[index]
}
