// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where debuggers come from: one at a time.

use super::client::Client;
use crate::output::tell;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How often a virtio port is looked at, which does not say when somebody comes, in milliseconds.
const LOOK: u16 = 100;

/// Where one can come from.
#[derive(Debug)]
pub enum Port {
    /// A TCP port of this host.
    Tcp(TcpListener),
    /// In a first guest, a virtio port whose other end is one.
    Virtio(File),
}

/// What a machine is told of debuggers.
#[derive(Debug)]
pub struct Invitation {
    pub port: Port,
    /// The number of the TCP port, for people.
    pub number: u16,
    /// Whether it waits for one before its first instruction.
    pub wait: bool,
}

impl Invitation {
    /// Says from when on one can come.
    pub fn announce(&self) {
        let waits = if self.wait { ", and the guest waits for that" } else { "" };
        let number = self.number;
        tell(&format!("farfault: gdb can attach now (target remote :{number}){waits}"));
    }
}

/// Takes a TCP port of this host, which only programs of this host reach.
pub fn listen(number: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number))
}

impl Port {
    /// The TCP port, if it is one.
    pub fn listener(&self) -> Option<&TcpListener> {
        match self {
            Port::Tcp(listener) => Some(listener),
            Port::Virtio(_) => None,
        }
    }

    /// The next debugger, or nothing when the bell rings first.
    pub fn await_client(&self, bell: BorrowedFd) -> io::Result<Option<Client>> {
        let stream = match self {
            Port::Tcp(listener) => {
                if heard(bell, Some(listener.as_fd()), PollTimeout::NONE)? {
                    return Ok(None);
                }
                let (stream, _) = listener.accept()?;
                // Packets are small, and each waits for its answer.
                stream.set_nodelay(true)?;
                File::from(OwnedFd::from(stream))
            }
            Port::Virtio(port) => {
                while !is_open(port)? {
                    if heard(bell, None, PollTimeout::from(LOOK))? {
                        return Ok(None);
                    }
                }
                port.try_clone()?
            }
        };
        Client::new(stream).map(Some)
    }

    /// Waits until a debugger that has nothing more to say has gone, or the bell rings: one that
    /// came by a virtio port would be taken for the next.
    pub fn see_off(&self, bell: BorrowedFd) -> io::Result<()> {
        let Port::Virtio(port) = self else { return Ok(()) };
        let mut port = port;
        while is_open(port)? && !heard(bell, None, PollTimeout::from(LOOK))? {
            match port.read(&mut [0; 512]) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Waits; whether the bell rings.
fn heard(bell: BorrowedFd, other: Option<BorrowedFd>, time: PollTimeout) -> io::Result<bool> {
    let fds = std::iter::once(bell).chain(other);
    let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut fds, time) {
        Ok(_) => Ok(fds[0].any() == Some(true)),
        Err(nix::Error::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether somebody has the other end of a virtio port.
fn is_open(port: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(port.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO)?;
    Ok(!fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}
