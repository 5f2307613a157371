// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device refused or dropped, with all that says whose it was.
//!
//! A refusal is made where the access or order is, often behind locks. Its ERR bit
//! is set there; everybody else is told when no lock is held ([`Deferred`]).

use crate::dma::{DmaFault, Unreachable};
use farfault_abi::fault::{REASON_COMPLETION, REASON_RING, REASON_UNREACHABLE};
use farfault_abi::regs::{
    ERR_ACCESS, ERR_BASE, ERR_BUS_MASTER, ERR_COMMAND, ERR_COMMAND_RING, ERR_DOORBELL,
    ERR_FAULT_RING, ERR_TABLE,
};
use std::fmt;

/// An access or order that the device refused or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was wrong.
    pub cause: RefusalCause,
    /// The user-mode queue that it is about.
    pub queue: Option<u16>,
    /// The address space of the access.
    pub pasid: Option<u32>,
    /// The address that was accessed: a virtual one if there is a PASID, of a register
    /// if that was accessed, else a DMA address.
    pub address: Option<u64>,
    /// What the IOMMU refused of it.
    pub dma: Option<DmaFault>,
}

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// A register access of wrong width, alignment or time.
    Register,
    /// A base or entries register held no usable value.
    Base,
    /// A command of the driver was skipped.
    Command {
        /// Its opcode.
        opcode: u8,
    },
    /// The command queue or a WAIT address.
    CommandRing,
    /// The fault queue.
    FaultRing,
    /// A doorbell of a queue that is not enabled.
    Doorbell,
    /// A page table or the context table.
    Table {
        /// REASON value.
        reason: u32,
        /// Level at which the walk ended.
        level: usize,
    },
    /// Bus mastering is off.
    BusMaster,
    /// A queue was halted.
    Halted {
        /// REASON value.
        reason: u32,
    },
}

impl RefusalCause {
    /// The ERR bit that tells the driver of it; a halted queue has a record instead.
    pub fn error(self) -> u32 {
        match self {
            Self::Register => ERR_ACCESS,
            Self::Base => ERR_BASE,
            Self::Command { .. } => ERR_COMMAND,
            Self::CommandRing => ERR_COMMAND_RING,
            Self::FaultRing => ERR_FAULT_RING,
            Self::Doorbell => ERR_DOORBELL,
            Self::Table { .. } => ERR_TABLE,
            Self::BusMaster => ERR_BUS_MASTER,
            Self::Halted { .. } => 0,
        }
    }
}

impl Refusal {
    /// One of which no more is known.
    pub fn new(cause: RefusalCause) -> Self {
        Self { cause, queue: None, pasid: None, address: None, dma: None }
    }

    /// One about an address.
    pub fn at(cause: RefusalCause, address: u64) -> Self {
        Self { address: Some(address), ..Self::new(cause) }
    }

    /// One about memory that cannot be reached.
    pub fn unreachable(cause: RefusalCause, memory: Unreachable) -> Self {
        Self { dma: memory.fault, ..Self::at(cause, memory.address) }
    }
}

/// What a step leaves to be done when no lock is held any more.
#[derive(Default)]
pub struct Deferred {
    pub interrupts: Vec<u32>,
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "a register access of wrong width, alignment or time",
            Self::Base => "a base or entries register without a usable value",
            Self::Command { opcode } => return write!(f, "a wrong command, opcode {opcode}"),
            Self::CommandRing => "a command queue or WAIT address that is wild or out of reach",
            Self::FaultRing => "a fault queue that is wild or out of reach",
            Self::Doorbell => "a doorbell of a queue that is not enabled",
            Self::Table { reason: REASON_UNREACHABLE, level } => {
                return write!(f, "a page-table entry that leads outside memory, level {level}");
            }
            Self::Table { level, .. } => {
                return write!(f, "a malformed page-table entry, level {level}");
            }
            Self::BusMaster => "a memory access while bus mastering is off",
            Self::Halted { reason: REASON_RING } => "a ring that is wild or was refused: halted",
            Self::Halted { reason: REASON_COMPLETION } => {
                "a completion record that is misaligned or was refused: halted"
            }
            Self::Halted { reason } => return write!(f, "halted for reason {reason}"),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        self.queue.map_or(Ok(()), |queue| write!(f, ", queue {queue}"))?;
        self.pasid.map_or(Ok(()), |pasid| write!(f, ", PASID {pasid}"))?;
        self.address.map_or(Ok(()), |address| write!(f, ", address {address:#x}"))?;
        self.dma.map_or(Ok(()), |DmaFault { address, reason, .. }| {
            write!(f, "; the IOMMU refused DMA address {address:#x} for reason {reason:#x}")
        })
    }
}
