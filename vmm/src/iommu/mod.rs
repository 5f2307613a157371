// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An IOMMU in front of the accelerator: one remapping unit as Intel's
//! "Virtualization Technology for Directed I/O Architecture Specification"
//! (revision 5.1; "VT-d" in what follows) has them, and of that the least that a
//! stock kernel drives.
//!
//! - Requests without PASID in legacy mode (section 3.4): root table, context
//!   table, second-stage tables of 4 levels (3.7), with 2 MiB and 1 GiB pages,
//!   or pass-through. `tables.rs` is the walk.
//! - Invalidation by registers (6.5.1). The unit itself caches nothing; what is
//!   invalidated is what the device behind it remembers. So every granularity
//!   is carried out as a global one (6.5.1 allows coarser ones), and "caching
//!   mode" is off: what was not there needs no invalidation.
//! - One fault record and the fault event's message (7.2, 7.3): `faults.rs`.
//!
//! Not there: queued invalidation, scalable mode, device TLBs, interrupt remapping.
//!
//! RULE 1 of the device (`device-model/src/gate.rs`) goes on here: the register that
//! says that an invalidation is done, or translation on or off, says so when the
//! device says that no access through the old translations is left.
//!
//! The peer that was read is QEMU's `hw/i386/intel_iommu.c`.

mod faults;
mod registers;
mod tables;
mod unit;

#[cfg(test)]
mod registers_test;
#[cfg(test)]
mod tables_test;

pub use registers::{Behind, IommuRegisters, SIZE, SavedIommu};
pub use unit::{IommuPort, Unit};
