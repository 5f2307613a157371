// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Passing a PCI function of the host through to the guest (`--vfio`).
//!
//! The guest's driver works on the device itself. What of its configuration space and its MSI-X
//! table means something else in the guest is emulated (`function.rs`); its BARs are memory of
//! the guest, its interrupts go through the kernel, and the IOMMU lets it reach the guest's
//! memory and no other ([`Container`]). It knows KVM only by what it is given.

mod address;
mod bars;
mod capabilities;
mod config;
mod container;
mod device;
mod error;
mod function;
mod host;
mod interrupts;
mod msi;
mod msix;
mod sysfs;

#[cfg(test)]
mod function_test;
#[cfg(test)]
mod sysfs_test;
#[cfg(test)]
mod test_doubles;

pub use address::PciAddress;
pub use container::Container;
pub use error::PassthroughError;
pub use function::{Surroundings, Survey};
pub use sysfs::{Found, Host};
