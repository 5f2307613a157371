// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Page-table entries: 4 levels of 512, 8 bytes each, 48-bit addresses.
//!
//! Level 3 is the top. A leaf at level 0 maps 4 KiB, at level 1 2 MiB, at level
//! 2 1 GiB; at level 3 it is malformed. A valid entry without [`PTE_LEAF`] points
//! to the table below and carries no permission; at level 0 it is malformed.
//! The frame of a large leaf is aligned to its size.

use crate::describe::{HeaderSection, constants, genmask};

constants! { CONSTANTS;
    /// The entry means something; otherwise the rest of it is the driver's.
    PTE_VALID: u64 = 1 << 0;
    /// Leaf: the device may read.
    PTE_READ: u64 = 1 << 1;
    /// Leaf: the device may write.
    PTE_WRITE: u64 = 1 << 2;
    /// The entry maps memory.
    PTE_LEAF: u64 = 1 << 3;
    /// Leaf: the address is an offset in device memory, and no DMA address.
    PTE_DEVICE: u64 = 1 << 4;
    /// Leaf: no CPU has the memory, so a read and a write by the device are one step to all. A device
    /// with [`FEATURE_ATOMICS`](crate::regs::FEATURE_ATOMICS) does not look at it.
    PTE_ATOMIC: u64 = 1 << 5;
    /// Bits the device ignores, for the driver.
    PTE_SOFTWARE: u64 = genmask(11, 9);
    /// DMA address of the frame or of the table below; bits not named here are zero.
    PTE_ADDRESS: u64 = genmask(51, 12);
    /// Levels of the table.
    PT_LEVELS: u32 = 4;
    /// Address bits that one level resolves.
    PT_BITS: u32 = 9;
    /// Entries of one table.
    PT_ENTRIES: u32 = 512;
}

pub(crate) const SECTION: HeaderSection =
    HeaderSection { title: "Page-table entries", constants: CONSTANTS, structures: &[] };
