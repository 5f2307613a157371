// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command queue, by which the driver tells the device.
//!
//! Commands are carried out one after another, in order; each is done before
//! the next begins. That is what makes a WAIT after an INVALIDATE mean that no
//! access through the old translation is left.

use crate::describe::{HeaderSection, constants, layout};

constants! { CONSTANTS;
    /// Drops the translations of value bytes at address (both multiples of 4 KiB) for pasid; a value of 0
    /// means all of the PASID. Done when no access through them is left.
    CMD_INVALIDATE: u32 = 1;
    /// Answers fault group value of queue: it goes on, or with [`RESPONSE_FAIL`] its command ends with
    /// STATUS_FAULT at address.
    CMD_PAGE_RESPONSE: u32 = 2;
    /// Stores value as a u64 at DMA address address; with [`WAIT_IRQ`] also raises VECTOR_COMMAND.
    CMD_WAIT: u32 = 3;
    /// Binds queue to pasid, its ring header at virtual address address with value entries, completions
    /// interrupting on vector extra; the queue starts from the head that its header holds.
    CMD_QUEUE_ENABLE: u32 = 4;
    /// Unbinds queue. Done when nothing of it is in flight; what it had parked or held is dropped.
    CMD_QUEUE_DISABLE: u32 = 5;
    /// Counts what pasid accesses in system memory, by [`ACCESS_COUNTER_BYTES`](crate::fault::ACCESS_COUNTER_BYTES),
    /// and tells of each that has had value accesses since it was last told of. A value of 0 ends it.
    CMD_COUNT_ACCESSES: u32 = 6;

    /// Flag of CMD_PAGE_RESPONSE: the page cannot be had.
    RESPONSE_FAIL: u32 = 1 << 0;
    /// Flag of CMD_PAGE_RESPONSE, with [`RESPONSE_FAIL`]: for want of memory, so the command ends with
    /// STATUS_NO_MEMORY instead.
    RESPONSE_NO_MEMORY: u32 = 1 << 1;
    /// Flag of CMD_PAGE_RESPONSE, with [`RESPONSE_FAIL`]: the device cannot have the page for itself,
    /// so the command ends with STATUS_NO_ATOMIC instead.
    RESPONSE_NO_ATOMIC: u32 = 1 << 2;
    /// Flag of CMD_WAIT: interrupt too.
    WAIT_IRQ: u32 = 1 << 0;
}

layout! { STRUCTURES;
    /// An entry of the command queue; fields that a command does not use are zero.
    Command as "ff_command", 32 bytes {
        /// CMD value.
        opcode: u8,
        /// RESPONSE or WAIT bits.
        flags: u8,
        /// User-mode queue.
        queue: u16,
        /// Address space.
        pasid: u32,
        /// As the opcode says.
        address: u64,
        /// As the opcode says.
        value: u64,
        /// As the opcode says.
        extra: u64,
    }
}

pub(crate) const SECTION: HeaderSection =
    HeaderSection { title: "Command queue", constants: CONSTANTS, structures: STRUCTURES };
