// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What programs put into user-mode queues, and what the device answers.
//!
//! All addresses are virtual addresses of the process the queue is bound to.
//! Descriptors of one queue are carried out one after another, in order.

use crate::describe::{HeaderSection, constants, layout};

constants! { CONSTANTS;
    /// Does nothing.
    OP_NOP: u32 = 1;
    /// Stores operand as a u64 at destination after all earlier commands of the queue.
    OP_FENCE: u32 = 2;
    /// Copies length bytes from source to destination; the two may be equal but not otherwise overlap.
    OP_COPY: u32 = 3;
    /// Fills length bytes at destination; byte i becomes byte i modulo 8 of operand.
    OP_FILL: u32 = 4;
    /// Compares length bytes; the result is the offset of the first difference, or length.
    OP_COMPARE: u32 = 5;
    /// Adds operand to the u64 at destination in one atomic step; the result is the old value.
    OP_FETCH_ADD: u32 = 6;
    /// Counts words in length bytes at source: runs of bytes other than space and 0x09 to 0x0d.
    OP_WORD_COUNT: u32 = 7;
    /// Counts each byte value in length bytes at source into 256 u64 at destination.
    OP_HISTOGRAM: u32 = 8;
    /// For length f32 elements: destination[i] += operand * source[i], operand holding an f32 in its
    /// low half, multiply and add each rounded; the two may be equal but not otherwise overlap.
    OP_SAXPY: u32 = 9;
    /// Follows pointers: from the node at source, the next node's address is the u64 at node + operand,
    /// until it is 0 or length nodes were seen. The result is the wrapping sum of the u64 at node + operand2.
    OP_CHASE: u32 = 10;

    /// Descriptor flag: raise the queue's completion interrupt when done.
    DESC_IRQ: u32 = 1 << 0;

    /// The command did all it should.
    STATUS_OK: u32 = 0;
    /// An access was refused; fault_address says where. What came before it in the command is done.
    STATUS_FAULT: u32 = 1;
    /// The opcode is unknown.
    STATUS_BAD_OPCODE: u32 = 2;
    /// An operand is misaligned, operands overlap, a reserved field is not zero, or an unknown flag is set.
    STATUS_BAD_OPERAND: u32 = 3;
    /// A range of addresses wraps or leaves the address space; fault_address says where it starts.
    STATUS_BAD_ADDRESS: u32 = 4;
    /// As STATUS_FAULT, but nothing was wrong with the access: there was no memory for the page.
    STATUS_NO_MEMORY: u32 = 5;
    /// As STATUS_FAULT, for an atomic operation: the device cannot have the page for itself.
    STATUS_NO_ATOMIC: u32 = 6;
}

layout! { STRUCTURES;
    /// One command of a program.
    Descriptor as "ff_descriptor", 64 bytes {
        /// OP value.
        opcode: u8,
        /// DESC bits.
        flags: u8,
        /// Zero.
        reserved0: u16,
        /// Zero.
        reserved1: u32,
        /// Virtual address to read from.
        source: u64,
        /// Virtual address to write to.
        destination: u64,
        /// Bytes, elements or nodes, as the opcode says.
        length: u64,
        /// As the opcode says.
        operand: u64,
        /// As the opcode says.
        operand2: u64,
        /// Virtual address of the completion record, 64-byte aligned, or 0 for none.
        completion: u64,
        /// Value for the record's fence.
        fence: u64,
    }

    /// How a command ended. The device writes fence last.
    Completion as "ff_completion", 64 bytes {
        /// The descriptor's fence, stored after all else.
        fence: u64,
        /// STATUS value.
        status: u32,
        /// Zero.
        reserved0: u32,
        /// The address that status speaks of.
        fault_address: u64,
        /// As the opcode says.
        result: u64,
        /// Bytes, elements or nodes done.
        done: u64,
        /// Zero.
        reserved1: [u64; 3],
    }
}

pub(crate) const SECTION: HeaderSection = HeaderSection {
    title: "Descriptors and completions of user-mode queues",
    constants: CONSTANTS,
    structures: STRUCTURES,
};
