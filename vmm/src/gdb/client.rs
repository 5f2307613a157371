// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The connection of a debugger.

use gdbstub::conn::Connection;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// What a wait has brought.
pub enum Heard {
    Byte(u8),
    Bell,
}

/// A debugger that is there. Nothing waits for it without end but for its next word: whoever has
/// gone says no more, and a virtio port would wait for the next one.
pub struct Client {
    stream: File,
    heard: VecDeque<u8>,
    to_say: Vec<u8>,
}

/// How long a debugger may take to read what it has asked for, in milliseconds.
const PATIENCE: u16 = 10_000;

impl Client {
    pub fn new(stream: File) -> io::Result<Client> {
        fcntl(&stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Client { stream, heard: VecDeque::new(), to_say: Vec::new() })
    }

    /// Waits for its next byte or for the bell.
    pub fn listen(&mut self, bell: BorrowedFd) -> io::Result<Heard> {
        loop {
            if let Some(byte) = self.heard.pop_front() {
                return Ok(Heard::Byte(byte));
            }
            let mut fds = [
                PollFd::new(bell, PollFlags::POLLIN),
                PollFd::new(self.stream.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(nix::Error::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if fds[0].any() == Some(true) {
                return Ok(Heard::Bell);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.heard.extend(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until it can be told more.
    fn await_room(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)];
        let count = poll(&mut fds, PollTimeout::from(PATIENCE))?;
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        match fds[0].revents() {
            _ if count == 0 => Err(ErrorKind::TimedOut.into()),
            Some(events) if events.intersects(gone) => Err(ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }
}

impl Connection for Client {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.to_say.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.to_say);
        let mut left = &bytes[..];
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => left = &left[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.await_room()?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
