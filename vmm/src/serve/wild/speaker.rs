// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The client's side of the socket.

use super::act::{Act, Source};
use super::memory::file;
use farfault_vfio_user::{HEADER_SIZE, Header};
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Regions that there are, and one more.
const REGIONS: u8 = 10;

/// The client, which says all that it has to say before it is heard.
pub struct Speaker<'w> {
    pub client: UnixStream,
    pub memory: &'w OwnedFd,
    pub other: &'w OwnedFd,
}

impl Speaker<'_> {
    /// Says it.
    pub fn say(&self, acts: &[Act]) {
        self.message(1, 0, &[0; 4], &[]);
        for act in acts {
            if let Act::Bytes(bytes) = act {
                self.send(bytes, &[]);
                break;
            }
            self.act(act);
        }
        // It may have been closed already.
        let _ = self.client.shutdown(Shutdown::Write);
    }

    fn act(&self, act: &Act) {
        match act {
            Act::Message { command, flags, body, files } => {
                self.message((*command).into(), (*flags).into(), body, files);
            }
            Act::Map { address, pages, offset, flags, file } => {
                let places = [offset.number(), address.number(), pages.number()];
                let body = [words(&[32, few(*flags)]), longs(&places)].concat();
                self.message(2, 0, &body, file.as_slice());
            }
            Act::Unmap { address, pages, flags } => {
                let places = [address.number(), pages.number()];
                let body = [words(&[24, few(*flags)]), longs(&places)].concat();
                self.message(3, 0, &body, &[]);
            }
            Act::Read { region, offset, count } => {
                let place = words(&[(*region % REGIONS).into(), (*count).into()]);
                self.message(9, 0, &[longs(&[(*offset).into()]), place].concat(), &[]);
            }
            Act::Write { region, offset, value, size } => {
                let size = usize::from(*size % 9);
                let place = words(&[(*region % REGIONS).into(), size as u32]);
                let value = value.to_le_bytes().into_iter().take(size).collect();
                let body = [longs(&[(*offset).into()]), place, value].concat();
                self.message(10, 0x10, &body, &[]);
            }
            Act::Irqs { flags, index, start, count, events } => {
                let all = [20, *flags, *index, *start, *count].map(u32::from);
                let events = vec![Source::Event; usize::from(*events % 18)];
                self.message(8, 0, &words(&all), &events);
            }
            Act::Bytes(_) | Act::Poke { .. } | Act::Command { .. } | Act::Submit { .. } => {}
            Act::Cut => {}
        }
    }

    fn message(&self, command: u16, flags: u32, body: &[u8], files: &[Source]) {
        let size = (HEADER_SIZE + body.len()) as u32;
        // What is no command is not answered, and the guest does nothing behind it.
        let header = Header { id: 1, command, size, flags, error: 0 };
        self.send(&[&header.to_bytes(), body].concat(), files);
    }

    /// What the socket does not take is not said.
    fn send(&self, bytes: &[u8], files: &[Source]) {
        let files: Vec<OwnedFd> =
            files.iter().filter_map(|source| self.open(*source).ok()).collect();
        let files: Vec<_> = files.iter().take(20).map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let _ = files.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(&files));
        let _ = sendmsg(
            &self.client,
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        );
    }

    fn open(&self, source: Source) -> io::Result<OwnedFd> {
        match source {
            Source::Guest => self.memory.try_clone(),
            Source::Other => self.other.try_clone(),
            Source::Short => file(100),
            Source::Event => Ok(EventFd::from_flags(EfdFlags::EFD_NONBLOCK)?.into()),
            Source::Socket => Ok(UnixStream::pair()?.0.into()),
        }
    }
}

/// Flags, among which those that there are come often.
fn few(flags: u8) -> u32 {
    u32::from(flags >> 6)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_le_bytes()).collect()
}
