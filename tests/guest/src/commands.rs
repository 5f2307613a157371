// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands for the device on bare addresses. Nobody but who submits one says whether
//! something may be there.

use farfault_client::raw::descriptor::{self as abi, Descriptor};

/// A command of this kind.
pub fn command(opcode: u32, source: u64, destination: u64, length: u64) -> Descriptor {
    // Opcodes are defined as u32 for C's sake and fit the descriptor's byte.
    Descriptor { opcode: opcode as u8, source, destination, length, ..Descriptor::default() }
}

/// Does nothing.
pub fn nop() -> Descriptor {
    command(abi::OP_NOP, 0, 0, 0)
}

/// Copies `length` bytes.
pub fn copy(source: u64, destination: u64, length: u64) -> Descriptor {
    command(abi::OP_COPY, source, destination, length)
}

/// Fills `length` bytes with the word `value`, again and again.
pub fn fill(destination: u64, length: u64, value: u64) -> Descriptor {
    Descriptor { operand: value, ..command(abi::OP_FILL, 0, destination, length) }
}

/// Writes the word `value`.
pub fn store(destination: u64, value: u64) -> Descriptor {
    fill(destination, 8, value)
}

/// Adds `value` to a word; the result is what was there.
pub fn add(destination: u64, value: u64) -> Descriptor {
    Descriptor { operand: value, ..command(abi::OP_FETCH_ADD, 0, destination, 0) }
}

/// Counts the words of a text.
pub fn word_count(source: u64, length: u64) -> Descriptor {
    command(abi::OP_WORD_COUNT, source, 0, length)
}

/// Follows a list of nodes, each a link and a value, from `first` on for as long as it goes.
pub fn chase(first: u64) -> Descriptor {
    Descriptor { operand2: 8, ..command(abi::OP_CHASE, first, 0, u64::MAX) }
}

/// The same, with an interrupt when it has ended.
pub fn interrupting(descriptor: Descriptor) -> Descriptor {
    Descriptor { flags: descriptor.flags | abi::DESC_IRQ as u8, ..descriptor }
}
