// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the device looks on the bus: identifiers, BARs, MSI-X vectors.

use crate::describe::{HeaderSection, constants};

constants! { CONSTANTS;
    /// PCI vendor ID; unassigned, in wide use for devices that exist only in emulators.
    PCI_VENDOR: u32 = 0x1234;
    /// PCI device ID.
    PCI_DEVICE: u32 = 0xfa17;
    /// PCI class code: processing accelerator (PCI Code and ID Assignment, base class 12h).
    PCI_CLASS: u32 = 0x120000;
    /// BAR of the registers and, behind them, the MSI-X table and pending bits.
    BAR_REGISTERS: u32 = 0;
    /// Bytes of the register BAR.
    BAR_REGISTERS_SIZE: u64 = 0x4000;
    /// Where the MSI-X table is in the register BAR; the capability says so, too.
    MSIX_TABLE: u32 = 0x2000;
    /// BAR of the doorbell pages.
    BAR_DOORBELLS: u32 = 4;
    /// Bytes of the doorbell BAR.
    BAR_DOORBELLS_SIZE: u64 = 0x80000;
    /// Bytes from one doorbell page to the next; one page can be mapped into one process.
    DOORBELL_STRIDE: u64 = 0x1000;
    /// User-mode queues; queue q rings with a 32-bit write of anything to the start of page q.
    QUEUES: u32 = 64;
    /// Doorbell page of the command queue, behind those of the user-mode queues.
    DOORBELL_COMMAND: u32 = 64;
    /// MSI-X vectors.
    VECTORS: u32 = 10;
    /// Vector: the fault queue has become non-empty.
    VECTOR_FAULT: u32 = 0;
    /// Vector: a WAIT command with the interrupt flag has been carried out.
    VECTOR_COMMAND: u32 = 1;
    /// First vector for completions of user-mode queues.
    VECTOR_QUEUE: u32 = 2;
}

pub(crate) const SECTION: HeaderSection = HeaderSection {
    title: "PCI function: identifiers, BARs, MSI-X vectors",
    constants: CONSTANTS,
    structures: &[],
};
