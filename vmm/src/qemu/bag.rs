// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What QEMU inherits, and how its options name it.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Descriptors for a child.
#[derive(Default)]
pub struct Bag(Vec<OwnedFd>);

impl Bag {
    /// A socket; its descriptor's number.
    pub fn socket(&mut self, socket: UnixStream) -> String {
        let number = socket.as_raw_fd().to_string();
        self.0.push(socket.into());
        number
    }

    /// The same of a port, which others may need, too.
    pub fn port(&mut self, port: &TcpListener) -> io::Result<String> {
        let port = port.try_clone()?;
        let number = port.as_raw_fd().to_string();
        self.0.push(port.into());
        Ok(number)
    }

    /// A file; a path to it.
    pub fn file(&mut self, file: &File) -> io::Result<String> {
        let file = file.try_clone()?;
        let name = format!("/dev/fd/{}", file.as_raw_fd());
        self.0.push(file.into());
        Ok(name)
    }

    /// All of it.
    pub fn into_inner(self) -> Vec<OwnedFd> {
        self.0
    }
}
