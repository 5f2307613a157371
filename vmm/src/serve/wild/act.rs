// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a client and its guest can do.

use arbitrary::Arbitrary;
use farfault_reference_driver::PAGE;

/// A process's memory that its device reaches from the beginning.
pub const MAPPED: u64 = 0x100_0000;
/// And some that it reaches when its faults are answered.
pub const UNMAPPED: u64 = 0x200_0000;

/// What one of them does.
#[derive(Arbitrary, Debug)]
pub enum Act {
    /// The client sends a message.
    Message {
        command: u8,
        flags: u8,
        body: Vec<u8>,
        files: Vec<Source>,
    },
    /// The client sends what may be no message, and leaves.
    Bytes(Vec<u8>),
    Map {
        address: Place,
        pages: Place,
        offset: Place,
        flags: u8,
        file: Option<Source>,
    },
    Unmap {
        address: Place,
        pages: Place,
        flags: u8,
    },
    Read {
        region: u8,
        offset: u16,
        count: u16,
    },
    Write {
        region: u8,
        offset: u16,
        value: u64,
        size: u8,
    },
    Irqs {
        flags: u8,
        index: u8,
        start: u8,
        count: u8,
        events: u8,
    },
    /// The guest writes to its memory.
    Poke {
        address: u32,
        value: u64,
    },
    /// Its driver gives the device a command.
    Command {
        opcode: u8,
        flags: u8,
        queue: u8,
        pasid: u8,
        address: Place,
        value: Place,
        extra: u8,
    },
    /// Its program gives the device a command.
    Submit {
        opcode: u8,
        flags: u8,
        source: Place,
        destination: Place,
        length: Place,
        operand: u64,
    },
    /// A file of the client's becomes shorter.
    Cut,
}

/// A number that may mean something.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Place {
    Small(u8),
    Pages(u16),
    Mapped(u16),
    Unmapped(u16),
    Any(u64),
}

impl Place {
    /// It.
    pub fn number(self) -> u64 {
        match self {
            Place::Small(number) => number.into(),
            Place::Pages(pages) => u64::from(pages) * PAGE,
            Place::Mapped(offset) => MAPPED + u64::from(offset),
            Place::Unmapped(offset) => UNMAPPED + u64::from(offset),
            Place::Any(number) => number,
        }
    }
}

/// What a descriptor is of.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Source {
    Guest,
    /// Some memory beside it, which can be cut.
    Other,
    /// Less than a page.
    Short,
    Event,
    Socket,
}
