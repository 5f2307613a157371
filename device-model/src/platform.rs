// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device needs from the machine it sits in.

use crate::dma::{DmaFault, Mapping, Permits};
use crate::refusal::Refusal;
use std::sync::Arc;
use vm_memory::GuestMemoryMmap;

/// The machine, as the device sees it: memory to reach and a way to interrupt.
pub trait Platform: Send + Sync {
    /// Guest physical memory: what DMA reaches. Asked for whenever the device
    /// comes out of reset, and by `Device::memory_changed`.
    fn memory(&self) -> Arc<GuestMemoryMmap>;
    /// What stands between the device and memory, if anything does. Asked for
    /// along with memory. Without one a DMA address is a guest physical address.
    fn iommu(&self) -> Option<Arc<dyn Iommu>> {
        None
    }
    /// Sends the MSI-X message of `vector`. Called from any thread of the
    /// device, with no lock of the device held and in no section.
    fn signal(&self, vector: u16);
    /// Hears of what the device refused or dropped. Called as `signal` is; a guest
    /// can have it called as often as it likes.
    fn refused(&self, refusal: &Refusal);
}

/// An IOMMU, as the device behind it sees it. What it answers is used until
/// `Device::dma_changed` returns, and may be out of date until then.
pub trait Iommu: Send + Sync {
    /// Where `address` leads for an access that needs `wanted` there. Asked in
    /// sections: it takes no lock, its time is bounded, and nothing comes of asking.
    fn translate(&self, address: u64, wanted: Permits) -> Result<Mapping, DmaFault>;
    /// Hears of an access that was not made because of what `translate` said. Called
    /// as [`Platform::signal`] is.
    fn refused(&self, fault: &DmaFault);
}
