// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ext4's zeroing ahead, which Linux 7.2 gets wrong under DAX.
//!
//! Who writes to the start of a short unwritten extent has ext4 zero the rest of
//! it and call all of it written. It tells DAX only of the blocks that were asked
//! for. If a zero page is mapped for one of the others, a later write(2) to it
//! finds a block that is not new, and leaves the zero page in the page tables.

use farfault_guest_programs::Failure;
use nix::sys::stat::{major, minor};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// It is off for as long as this is there.
pub struct NoZeroing {
    setting: PathBuf,
    before: String,
}

impl NoZeroing {
    /// Turns it off where `folder` is; None if that is no ext4.
    pub fn new(folder: &Path) -> Result<Option<NoZeroing>, Failure> {
        let device = fs::metadata(folder)?.dev();
        let link = format!("/sys/dev/block/{}:{}", major(device), minor(device));
        // What is not on a block device has no such link.
        let Ok(target) = fs::read_link(link) else { return Ok(None) };
        let name = target.file_name().unwrap_or_default();
        let setting = Path::new("/sys/fs/ext4").join(name).join("extent_max_zeroout_kb");
        if !setting.exists() {
            return Ok(None);
        }
        let said = |error| format!("{}: {error}; --zero-ahead leaves it alone", setting.display());
        let before = fs::read_to_string(&setting).map_err(said)?;
        fs::write(&setting, "0").map_err(said)?;
        Ok(Some(NoZeroing { setting, before }))
    }
}

impl Drop for NoZeroing {
    fn drop(&mut self) {
        // As long as the file system is mounted, what could be set can be set back.
        let _ = fs::write(&self.setting, &self.before);
    }
}
