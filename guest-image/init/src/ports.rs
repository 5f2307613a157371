// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The virtio ports that join the guest's streams to the host's, found by name.

use crate::failure::Failure;
use crate::uevents::Uevents;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The names of the ports.
pub const STDIN: &str = "farfault.stdin";
pub const STDOUT: &str = "farfault.stdout";
pub const STDERR: &str = "farfault.stderr";
pub const CONTROL: &str = "farfault.control";

const SYSFS: &str = "/sys/class/virtio-ports";
const APPEAR: Duration = Duration::from_secs(20);
/// A host that is there opens its end at once.
const CONNECT: Duration = Duration::from_millis(500);

/// The device node of each port.
pub struct Ports {
    nodes: BTreeMap<String, PathBuf>,
}

impl Ports {
    /// Waits until all of them are there.
    pub fn find() -> Result<Self, Failure> {
        let uevents = Uevents::subscribe()?;
        let deadline = Instant::now() + APPEAR;
        loop {
            let nodes = scan(Path::new(SYSFS));
            let missing = missing(&nodes);
            if missing.is_empty() {
                return Ok(Self { nodes });
            }
            if Instant::now() >= deadline {
                let (names, seconds) = (missing.join(", "), APPEAR.as_secs());
                return Err(Failure::NoPort { names, seconds });
            }
            uevents.wait(deadline);
        }
    }

    /// Opens a port, which the kernel lets only one process do at a time.
    pub fn open(&self, name: &str, options: &OpenOptions) -> Result<File, Failure> {
        let path = self.nodes.get(name).cloned().unwrap_or_default();
        options.open(&path).map_err(Failure::file("open", path))
    }
}

/// Waits until the host's end of `port` is open, but not for long: a host that
/// has closed its end before the guest came up does not open it again.
///
/// poll(2) reports a closed end at once and for ever, so the wait is for an
/// edge: the driver wakes its sleepers when the host opens its end.
pub fn await_host(port: &File) -> nix::Result<()> {
    let deadline = Instant::now() + CONNECT;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    epoll.add(port, EpollEvent::new(interest, 0))?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = EpollTimeout::try_from(left).unwrap_or(EpollTimeout::ZERO);
        let mut events = [EpollEvent::empty()];
        let count = epoll.wait(&mut events, timeout)?;
        if count == 0 || !events[0].events().contains(EpollFlags::EPOLLHUP) {
            return Ok(());
        }
    }
}

fn scan(class: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("name")).ok()?;
            Some((name.trim_end().to_owned(), Path::new("/dev").join(entry.file_name())))
        })
        .collect()
}

fn missing(nodes: &BTreeMap<String, PathBuf>) -> Vec<&'static str> {
    let wanted = [STDIN, STDOUT, STDERR, CONTROL];
    wanted.into_iter().filter(|name| !nodes.contains_key(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_by_name() {
        let scratch = tempfile::tempdir().unwrap();
        let class = scratch.path().join("class");
        assert_eq!(missing(&scan(&class)).len(), 4, "no such class yet");
        for (node, name) in [("vport1p1", STDIN), ("vport1p2", CONTROL), ("vport2p1", "other")] {
            fs::create_dir_all(class.join(node)).unwrap();
            fs::write(class.join(node).join("name"), format!("{name}\n")).unwrap();
        }
        // A port whose name has not arrived yet.
        fs::create_dir_all(class.join("vport1p3")).unwrap();
        let nodes = scan(&class);
        assert_eq!(nodes.get(CONTROL), Some(&PathBuf::from("/dev/vport1p2")));
        assert_eq!(missing(&nodes), [STDOUT, STDERR]);
    }
}
