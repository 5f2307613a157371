// SPDX-License-Identifier: Apache-2.0 OR MIT
//! PCI, as far as a machine with one bus needs it: configuration space that
//! the guest can size and move BARs in, MSI-X, function-level reset, and the
//! ECAM window. It knows neither KVM nor any device; both come in through
//! small traits.

mod address_map;
mod bar;
mod config_space;
mod decoded;
mod direct;
mod function;
mod msix;
mod root;

#[cfg(test)]
mod config_space_test;
#[cfg(test)]
mod function_test;
#[cfg(test)]
mod msix_test;
#[cfg(test)]
pub mod test_doubles;

pub use address_map::{AddressMap, EventRegistry, MemoryRegistry};
pub use bar::{Area, Backing, Bar, Width};
pub use config_space::{ConfigSpace, Endpoint, Identity};
pub use decoded::DecodedBars;
pub use direct::{DirectLine, DirectMessage};
pub use function::{Function, PciDevice, PciFunction, SavedFunction};
pub use msix::{MSIX_BYTES, Message, MessageSink, Msix, NO_VECTOR, is_register_access};
pub use root::{HostBridge, Root};

/// Bytes of a function's configuration space.
pub const CONFIG_SIZE: usize = 4096;
/// Bytes of the ECAM window of one bus.
pub const ECAM_SIZE: u64 = 1 << 20;

/// The offset of `address` in `size` bytes at `base`.
pub fn within(address: u64, base: u64, size: u64) -> Option<u64> {
    address.checked_sub(base).filter(|offset| *offset < size)
}
