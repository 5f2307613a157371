// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's file systems, at their usual places.

use crate::failure::Failure;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::fs;

/// What is mounted where and with which options, in this order.
const MOUNTS: [(&str, &str, &str); 8] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", "mode=0755"),
    ("devpts", "/dev/pts", "mode=0620,ptmxmode=0666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/run", "mode=0755"),
    (OPTIONAL, "/sys/kernel/debug", ""),
];
/// Depends on the kernel's configuration; who needs it says so better than init could.
const OPTIONAL: &str = "debugfs";

pub fn mount_all() -> Result<(), Failure> {
    for (kind, target, options) in MOUNTS {
        // Where a directory cannot be made, mount says so with more to the point.
        let _ = fs::create_dir_all(target);
        match mount(Some(kind), target, Some(kind), MsFlags::MS_NOSUID, Some(options)) {
            Ok(()) => {}
            // devtmpfs is there already when the kernel mounts it itself.
            Err(Errno::EBUSY) => {}
            // It lacks the file system, and is told of all that it lacks at once.
            Err(Errno::ENODEV) => {}
            Err(errno) if kind != OPTIONAL => return Err(Failure::Mount { kind, target, errno }),
            Err(_) => {}
        }
    }
    link_standard_streams();
    Ok(())
}

/// devtmpfs has no /dev/stdin and the like, which shells and scripts use.
fn link_standard_streams() {
    let links = [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")]
        .map(|(name, number)| (format!("/proc/self/fd{number}"), format!("/dev/{name}")));
    for (target, link) in links {
        // A missing link troubles only the command that uses it.
        let _ = std::os::unix::fs::symlink(target, link);
    }
}
