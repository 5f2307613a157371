// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's file systems, at their usual places.

use crate::failure::Failure;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::fs;

struct Mount {
    kind: &'static str,
    target: &'static str,
    options: &'static str,
    needed: bool,
}

const fn needed(kind: &'static str, target: &'static str, options: &'static str) -> Mount {
    Mount { kind, target, options, needed: true }
}

const fn wanted(kind: &'static str, target: &'static str, options: &'static str) -> Mount {
    Mount { kind, target, options, needed: false }
}

/// In the order in which they are mounted. `wanted` ones depend on the kernel's
/// configuration; who needs one of them says so better than init could.
const MOUNTS: [Mount; 8] = [
    needed("proc", "/proc", ""),
    needed("sysfs", "/sys", ""),
    needed("devtmpfs", "/dev", "mode=0755"),
    needed("devpts", "/dev/pts", "mode=0620,ptmxmode=0666"),
    needed("tmpfs", "/dev/shm", "mode=1777"),
    needed("tmpfs", "/tmp", "mode=1777"),
    needed("tmpfs", "/run", "mode=0755"),
    wanted("debugfs", "/sys/kernel/debug", ""),
];

/// Mounts them all.
pub fn mount_all() -> Result<(), Failure> {
    for Mount { kind, target, options, needed } in &MOUNTS {
        // Where a directory cannot be made, mount says so with more to the point.
        let _ = fs::create_dir_all(target);
        match mount(Some(*kind), *target, Some(*kind), MsFlags::MS_NOSUID, Some(*options)) {
            Ok(()) => {}
            // devtmpfs is there already when the kernel mounts it itself.
            Err(Errno::EBUSY) => {}
            // It lacks the file system, and is told of all that it lacks at once.
            Err(Errno::ENODEV) => {}
            Err(errno) if *needed => return Err(Failure::Mount { kind, target, errno }),
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
