// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's announcements of devices: init sleeps until the next one instead
//! of looking again and again.

use crate::failure::{Doing, Failure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

/// The kernel's own multicast group (the other one is udev's).
const KERNEL_GROUP: u32 = 1;

pub struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Subscribes. What is announced from here on is not missed.
    pub fn subscribe() -> Result<Self, Failure> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )
        .doing("open a uevent socket")?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP)).doing("listen to uevents")?;
        Ok(Self { socket })
    }

    /// Sleeps until something was announced or `deadline` has come. What it was
    /// does not matter: the caller looks for what it wants.
    pub fn wait(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        // A failed wait is an early look, and the caller's deadline bounds it.
        let _ = poll(&mut sockets, timeout);
        let mut text = [0; 4096];
        while recv(self.socket.as_raw_fd(), &mut text, MsgFlags::empty()).is_ok() {}
    }
}
