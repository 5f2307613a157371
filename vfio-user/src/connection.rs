// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client's socket: whole messages in, whole replies out, and nothing that the bell does
//! not end.
//!
//! A read never goes beyond the message that it is of, so descriptors that come with it are
//! that message's. Every message is taken in to its end before anything is said to it.

use crate::bell::Bell;
use crate::header::{HEADER_SIZE, Header};
use crate::request::MAX_TRANSFER;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send,
};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use thiserror::Error;

/// Descriptors that one message can bring (`max_msg_fds`).
pub const MAX_FDS: usize = 16;

/// Longest body: data of the greatest length, and the fixed part before it.
const MAX_BODY: usize = MAX_TRANSFER as usize + 64;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Ended {
    /// The client has closed it.
    #[error("the client has left")]
    Left,
    /// The bell was rung.
    #[error("the server was told to end")]
    Bell,
    /// The device cannot be served any longer.
    #[error("the device does not go on")]
    Device,
    /// What came cannot be told apart into messages any more.
    #[error("the client sent a message of {0} bytes, which is none of vfio-user")]
    Framing(u32),
    /// It broke.
    #[error("the client's socket: {0}")]
    Broken(#[from] Errno),
}

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// What is behind that.
    pub body: Vec<u8>,
    /// Descriptors that came along.
    pub files: Vec<OwnedFd>,
    /// More came than can be taken.
    pub too_many_files: bool,
}

/// A client.
#[derive(Debug)]
pub struct Connection<'b> {
    socket: UnixStream,
    bell: &'b Bell,
}

impl<'b> Connection<'b> {
    /// One that lasts until `bell` rings, at the longest.
    pub fn new(socket: UnixStream, bell: &'b Bell) -> Self {
        Self { socket, bell }
    }

    /// The next message.
    pub fn receive(&self) -> Result<Message, Ended> {
        let mut bytes = [0; HEADER_SIZE];
        let mut message = Message {
            header: Header::from_bytes(&bytes),
            body: Vec::new(),
            files: Vec::new(),
            too_many_files: false,
        };
        self.fill(&mut bytes, &mut message)?;
        message.header = Header::from_bytes(&bytes);
        let size = message.header.size;
        let body = message.header.body().filter(|body| *body <= MAX_BODY);
        let mut body = vec![0; body.ok_or(Ended::Framing(size))?];
        self.fill(&mut body, &mut message)?;
        message.body = body;
        Ok(message)
    }

    /// Sends a message.
    pub fn send(&self, header: Header, body: &[u8]) -> Result<(), Ended> {
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(body);
        let mut left = &bytes[..];
        while !left.is_empty() {
            match send(&self.socket, left, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => left = left.get(sent..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Ended::Left),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Fills `bytes`; descriptors that come with them are added to the message.
    fn fill(&self, bytes: &mut [u8], message: &mut Message) -> Result<(), Ended> {
        let mut done = 0;
        while let Some(left) = bytes.get_mut(done..).filter(|left| !left.is_empty()) {
            // A client that never stops talking must not be louder.
            if self.bell.has_rung() {
                return Err(Ended::Bell);
            }
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            match recvmsg(&self.socket, &mut [IoSliceMut::new(left)], &mut ancillary, flags) {
                Ok(received) => {
                    // More than there is room for, here or in this process.
                    message.too_many_files |= received.flags.contains(ReturnFlags::CTRUNC);
                    for item in ancillary.drain() {
                        if let RecvAncillaryMessage::ScmRights(files) = item {
                            message.files.extend(files);
                        }
                    }
                    message.too_many_files |= message.files.len() > MAX_FDS;
                    message.files.truncate(MAX_FDS);
                    if received.bytes == 0 {
                        return Err(Ended::Left);
                    }
                    done += received.bytes;
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(Ended::Left),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sleeps until the socket is ready or the bell rings.
    fn wait(&self, what: PollFlags) -> Result<(), Ended> {
        let mut files = [
            PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN),
            PollFd::new(&self.socket, what),
        ];
        match poll(&mut files, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if self.bell.has_rung() { Err(Ended::Bell) } else { Ok(()) }
    }
}
