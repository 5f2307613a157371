// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A huge page for a test that is about huge pages.

use crate::Failure;
use crate::ktap::Skip;
use crate::memory::{self, HUGE_PAGE, Region};
use farfault_client::Device;

/// 2 MiB in one piece, full of `value`; the CPU maps it by one entry.
///
/// # Errors
/// [`Skip`] if the system has none to give.
pub fn huge_page(value: u8) -> Result<Region, Failure> {
    memory::allow_huge_pages()?;
    let mut region = Region::huge_pages(HUGE_PAGE)?;
    region.fill(value);
    match Device::open()?.snapshot(&region[..])?.iter().all(|page| page.is_large()) {
        true => Ok(region),
        false => Err(Skip("the system has no huge page to give".to_owned()).into()),
    }
}
