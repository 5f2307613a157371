// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that can be shared.

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use std::io;
use std::os::fd::OwnedFd;

/// Bytes of the guest's.
pub const MEMORY: u64 = 4 << 20;

/// Some, empty.
pub fn file(size: u64) -> io::Result<OwnedFd> {
    let file = memfd_create("memory", MFdFlags::MFD_CLOEXEC)?;
    ftruncate(&file, size as i64)?;
    Ok(file)
}
