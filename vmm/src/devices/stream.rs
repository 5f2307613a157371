// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine's end of a byte stream, watched by the event loop only while
//! there is something to do with it.

use event_manager::{EventOps, EventSet, Events};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

/// What reading a stream gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// So many bytes.
    Data(usize),
    /// Nothing yet.
    Later,
    /// The other end is closed and all it had sent is read.
    Ended,
}

/// A stream that never blocks.
pub struct Stream {
    socket: UnixStream,
    token: u32,
    watched: EventSet,
    ended: bool,
    broken: bool,
}

impl Stream {
    /// Takes over a socket; its events will carry `token`.
    pub fn new(socket: UnixStream, token: u32) -> io::Result<Stream> {
        socket.set_nonblocking(true)?;
        let watched = EventSet::empty();
        Ok(Stream { socket, token, watched, ended: false, broken: false })
    }

    /// Reads what is there.
    pub fn read(&mut self, buffer: &mut [u8]) -> Input {
        if self.ended {
            return Input::Ended;
        }
        loop {
            match self.socket.read(buffer) {
                Ok(count) if count > 0 => return Input::Data(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Input::Later,
                Ok(_) | Err(_) => {
                    self.ended = true;
                    return Input::Ended;
                }
            }
        }
    }

    /// Writes as much as the other end takes now. One that is closed takes
    /// everything: a guest must not wait for a reader who has gone.
    pub fn write(&mut self, data: &[u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty() && !self.broken) {
            match self.socket.write(rest) {
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return done,
                Err(_) => self.broken = true,
            }
        }
        data.len()
    }

    /// Changes what the event loop waits for. Nothing at all takes the stream
    /// out of the loop, because a hang-up would be reported even so.
    pub fn watch(&mut self, wanted: EventSet, ops: &mut EventOps) {
        if wanted == self.watched {
            return;
        }
        let events = Events::with_data(&self.socket, self.token, wanted);
        let result = if self.watched.is_empty() {
            ops.add(events)
        } else if wanted.is_empty() {
            ops.remove(events)
        } else {
            ops.modify(events)
        };
        if result.is_ok() {
            self.watched = wanted;
        }
    }
}
