// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The header of a message (section "Header").

/// Bytes of a header.
pub const HEADER_SIZE: usize = 16;

const TYPE: u32 = 0xf;
const TYPE_COMMAND: u32 = 0;
const TYPE_REPLY: u32 = 1;
const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

/// A header. Flags that the protocol does not define are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's; a reply has that of its command.
    pub id: u16,
    /// What is to be done.
    pub command: u16,
    /// Bytes of the whole message.
    pub size: u32,
    /// Type and flags.
    pub flags: u32,
    /// An errno, in a reply with the error flag.
    pub error: u32,
}

impl Header {
    /// Reads one.
    pub fn from_bytes(bytes: &[u8; HEADER_SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        Self {
            id: u16::from_le_bytes([a, b]),
            command: u16::from_le_bytes([c, d]),
            size: u32::from_le_bytes([e, f, g, h]),
            flags: u32::from_le_bytes([i, j, k, l]),
            error: u32::from_le_bytes([m, n, o, p]),
        }
    }

    /// Writes it.
    pub fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let words = [u32::from(self.id) | u32::from(self.command) << 16, self.size];
        let words = words.into_iter().chain([self.flags, self.error]);
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Whether it is of a command.
    pub fn is_command(&self) -> bool {
        self.flags & TYPE == TYPE_COMMAND
    }

    /// Whether the sender waits for a reply.
    pub fn wants_reply(&self) -> bool {
        self.flags & NO_REPLY == 0
    }

    /// Bytes that follow it; none if it says that the message ends within the header.
    pub fn body(&self) -> Option<usize> {
        (self.size as usize).checked_sub(HEADER_SIZE)
    }

    /// The header of a reply with `body` bytes behind it, or of one that says why not.
    pub fn reply(&self, body: usize, error: Option<u32>) -> Self {
        Self {
            size: (HEADER_SIZE + body) as u32,
            flags: TYPE_REPLY | if error.is_some() { ERROR } else { 0 },
            error: error.unwrap_or(0),
            ..*self
        }
    }
}
