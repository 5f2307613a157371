// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files that share blocks until one of them is written.
#![allow(unsafe_code, reason = "an ioctl")]

use nix::libc;
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

mod calls {
    use nix::libc;
    // FICLONERANGE of linux/fs.h.
    nix::ioctl_write_ptr!(clone_range, 0x94, 13, libc::file_clone_range);
}

/// Has `target` share the blocks of all of `source`.
///
/// # Errors
/// As FICLONERANGE answers: EOPNOTSUPP where the file system cannot.
pub fn reflink(source: &File, target: &File) -> nix::Result<()> {
    // A length of 0 goes up to the end.
    reflink_range(source, 0..0, target, 0)
}

/// Has `target` share those of a `range` of `source`, from byte `to` on; it may be the
/// same file.
///
/// # Errors
/// As FICLONERANGE answers: also EINVAL where something is no multiple of a block.
pub fn reflink_range(source: &File, range: Range<u64>, target: &File, to: u64) -> nix::Result<()> {
    let request = libc::file_clone_range {
        src_fd: source.as_raw_fd().into(),
        src_offset: range.start,
        src_length: range.end - range.start,
        dest_offset: to,
    };
    // SAFETY: it reads the request; what the files' mappings hold is not borrowed by anyone.
    unsafe { calls::clone_range(target.as_raw_fd(), &request) }.map(drop)
}
