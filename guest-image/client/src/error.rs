// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong, told with what, where and what to do.

use farfault_abi::descriptor as abi;
use nix::errno::Errno;
use std::io;
use std::path::PathBuf;

/// Anything that a call of this library can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device cannot be opened.
    #[error("cannot open {}: {source}; is farfault.ko loaded, and the device on the bus?", path.display())]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The driver speaks another version of its interface.
    #[error("the driver's interface has version {found}, this program knows {known}; rebuild one of them", known = farfault_abi::uapi::UAPI_VERSION)]
    Version {
        /// The driver's version.
        found: u32,
    },
    /// A system call was refused.
    #[error("{call}: {source}")]
    System {
        /// The call, and on what.
        call: &'static str,
        /// What the kernel said.
        source: Errno,
    },
    /// A registered buffer was named to a queue of another device: it has no address there.
    #[error("the buffer is registered with another device than the queue's")]
    OtherDevice,
    /// A queue was to have an impossible number of entries.
    #[error("a queue cannot have {0} entries: give a power of two from 2 to 65536")]
    Entries(u32),
    /// Two operands that must be equally long are not.
    #[error("operands differ in length: {left} and {right} elements")]
    Lengths {
        /// Elements of the first.
        left: usize,
        /// Elements of the second.
        right: usize,
    },
    /// The device has stopped the queue; make a new one.
    #[error(
        "queue {queue} is halted: its ring or a completion record was wild, or the device was reset or is broken; create a new queue"
    )]
    Halted {
        /// Its number.
        queue: u32,
    },
    /// The device ended a command without doing all of it.
    #[error(transparent)]
    Command(#[from] Failure),
}

impl Error {
    /// `call` was refused.
    pub(crate) fn system(call: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::System { call, source }
    }
}

/// How a command failed. The queue lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An access was refused: nothing is mapped there, or not for that access.
    #[error("{command}: device access to {address:#x} refused after {done} {unit}", unit = unit(command))]
    Refused {
        /// What the command was.
        command: &'static str,
        /// Virtual address of the access.
        address: u64,
        /// Bytes, elements or nodes done before it.
        done: u64,
    },
    /// There was no memory for a page that the device needed; the access itself was right.
    #[error("{command}: no memory for the device's access to {address:#x} after {done} {unit}; free some and try again", unit = unit(command))]
    NoMemory {
        /// What the command was.
        command: &'static str,
        /// Virtual address of the access.
        address: u64,
        /// Bytes, elements or nodes done before it.
        done: u64,
    },
    /// The device cannot have the page for itself, as it must to be atomic: it is not one of private
    /// memory.
    #[error(
        "{command}: the device cannot be atomic at {address:#x}: it can have only pages of private memory for itself"
    )]
    NotAtomic {
        /// What the command was.
        command: &'static str,
        /// Virtual address of the access.
        address: u64,
    },
    /// The opcode is not one.
    #[error("opcode {opcode} is unknown to the device")]
    Opcode {
        /// The opcode.
        opcode: u8,
    },
    /// The operands break a rule of the command.
    #[error("{command}: operands are misaligned or overlap, or a reserved field is set")]
    Operand {
        /// What the command was.
        command: &'static str,
    },
    /// A range of addresses wraps or leaves the address space.
    #[error("{command}: the range from {address:#x} leaves the address space")]
    Address {
        /// What the command was.
        command: &'static str,
        /// Where the range starts.
        address: u64,
    },
    /// The device answered with a status that this library does not know.
    #[error("{command}: the device answered with unknown status {status}")]
    Status {
        /// What the command was.
        command: &'static str,
        /// The status.
        status: u32,
    },
}

impl Failure {
    /// What `completion` of a command with `opcode` says, if not success.
    pub fn of(opcode: u8, completion: &abi::Completion) -> Option<Self> {
        let command = name(opcode);
        let address = completion.fault_address;
        Some(match completion.status {
            abi::STATUS_OK => return None,
            abi::STATUS_FAULT => Self::Refused { command, address, done: completion.done },
            abi::STATUS_NO_MEMORY => Self::NoMemory { command, address, done: completion.done },
            abi::STATUS_NO_ATOMIC => Self::NotAtomic { command, address },
            abi::STATUS_BAD_OPCODE => Self::Opcode { opcode },
            abi::STATUS_BAD_OPERAND => Self::Operand { command },
            abi::STATUS_BAD_ADDRESS => Self::Address { command, address },
            status => Self::Status { command, status },
        })
    }

    /// The address it speaks of, if any.
    pub fn address(&self) -> Option<u64> {
        match *self {
            Self::Refused { address, .. }
            | Self::NoMemory { address, .. }
            | Self::NotAtomic { address, .. }
            | Self::Address { address, .. } => Some(address),
            _ => None,
        }
    }
}

fn name(opcode: u8) -> &'static str {
    match u32::from(opcode) {
        abi::OP_NOP => "nop",
        abi::OP_FENCE => "fence",
        abi::OP_COPY => "copy",
        abi::OP_FILL => "fill",
        abi::OP_COMPARE => "compare",
        abi::OP_FETCH_ADD => "fetch_add",
        abi::OP_WORD_COUNT => "word_count",
        abi::OP_HISTOGRAM => "histogram",
        abi::OP_SAXPY => "saxpy",
        abi::OP_CHASE => "chase",
        _ => "unknown command",
    }
}

fn unit(command: &str) -> &'static str {
    match command {
        "saxpy" => "elements",
        "chase" => "nodes",
        _ => "bytes",
    }
}
