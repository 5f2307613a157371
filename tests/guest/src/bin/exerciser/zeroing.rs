// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ext4's zeroing ahead, which Linux 7.2 gets wrong under DAX.
//!
//! Who writes to the start of a short unwritten extent has ext4 zero the rest of
//! it and call all of it written. It tells DAX only of the blocks that were asked
//! for. If a zero page is mapped for one of the others, a later write(2) to it
//! finds a block that is not new, and leaves the zero page in the page tables.

use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::Setting;
use nix::sys::stat::{major, minor};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Turns it off where `folder` is; None if that is no ext4.
pub fn no_zeroing(folder: &Path) -> Result<Option<Setting>, Failure> {
    let device = fs::metadata(folder)?.dev();
    let link = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    // What is not on a block device has no such link.
    let Ok(target) = fs::read_link(link) else { return Ok(None) };
    let name = target.file_name().unwrap_or_default().display();
    let setting = format!("/sys/fs/ext4/{name}/extent_max_zeroout_kb");
    if !Path::new(&setting).exists() {
        return Ok(None);
    }
    let off = Setting::set(setting, "0");
    Ok(Some(off.map_err(|why| format!("{why}; --zero-ahead leaves it alone"))?))
}
