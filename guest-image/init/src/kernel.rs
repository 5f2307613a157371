// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What init needs of a kernel, by the names of its configuration: one that lacks
//! some of it is told so, all in one line, instead of failing step by step.

use crate::failure::Failure;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs;
use std::path::Path;

/// An option, and how to find out whether it is set.
type Need = (&'static str, fn() -> bool);

/// The recipe looks for the same in a kernel's configuration (`needed-options`).
const NEEDS: [Need; 12] = [
    ("PROC_FS", || there("/proc/self")),
    ("SYSFS", || there("/sys/bus")),
    ("DEVTMPFS", || mounts("devtmpfs")),
    ("TMPFS", || mounts("tmpfs")),
    ("UNIX98_PTYS", || mounts("devpts")),
    ("EPOLL", || Epoll::new(EpollCreateFlags::empty()).is_ok()),
    ("SIGNALFD", || SignalFd::new(&SigSet::empty()).is_ok()),
    ("NET", || speaks(AddressFamily::Netlink, SockType::Datagram)),
    ("UNIX", || speaks(AddressFamily::Unix, SockType::Stream)),
    ("PCI_MMCONFIG", || there("/sys/bus/pci/devices/0000:00:00.0")),
    ("VIRTIO_PCI", || there("/sys/bus/pci/drivers/virtio-pci")),
    ("VIRTIO_CONSOLE", || there("/sys/bus/virtio/drivers/virtio_console")),
];

/// Fails if the kernel lacks anything. File systems are mounted and modules loaded by then.
pub fn check() -> Result<(), Failure> {
    let lacks = lacking(&NEEDS);
    if lacks.is_empty() { Ok(()) } else { Err(Failure::Kernel { lacks }) }
}

fn lacking(needs: &[Need]) -> String {
    let missing = needs.iter().filter(|(_, is_there)| !is_there());
    missing.map(|(option, _)| format!("CONFIG_{option}")).collect::<Vec<_>>().join(", ")
}

fn there(path: &str) -> bool {
    Path::new(path).exists()
}

fn mounts(kind: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.split_whitespace().any(|word| word == kind)
}

fn speaks(family: AddressFamily, kind: SockType) -> bool {
    socket(family, kind, SockFlag::empty(), None).err() != Some(Errno::EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_in_one_line() {
        let needs: [Need; 3] = [("A", || false), ("B", || true), ("C", || false)];
        assert_eq!(lacking(&needs), "CONFIG_A, CONFIG_C");
        assert_eq!(lacking(&needs[1..2]), "");
    }

    #[test]
    fn the_recipe_looks_for_the_same() {
        let listed = include_str!("../needed-options").lines();
        let listed: Vec<&str> = listed.filter(|line| !line.starts_with('#')).collect();
        assert_eq!(listed, NEEDS.map(|(option, _)| option));
    }

    #[test]
    fn probes_find_what_any_linux_has() {
        for option in ["PROC_FS", "TMPFS", "EPOLL", "SIGNALFD", "UNIX"] {
            let need = NEEDS.iter().find(|(name, _)| *name == option);
            assert!(need.is_some_and(|(_, is_there)| is_there()), "{option}");
        }
        assert!(!mounts("no-such-file-system"));
    }
}
