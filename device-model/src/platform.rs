// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device needs from the machine it sits in.

use std::sync::Arc;

use vm_memory::GuestMemoryMmap;

/// The machine, as the device sees it: memory to reach and a way to interrupt.
pub trait Platform: Send + Sync {
    /// Guest physical memory: what DMA reaches. Asked for whenever the device
    /// comes out of reset, so a hosting whose memory changes resets the device.
    fn memory(&self) -> Arc<GuestMemoryMmap>;
    /// What stands between the device and memory, if anything does. Asked for
    /// along with memory. Without one a DMA address is a guest physical address.
    fn iommu(&self) -> Option<Arc<dyn Iommu>> {
        None
    }
    /// Sends the MSI-X message of `vector`. Called from any thread of the
    /// device, never while an engine holds translations or a lock is held that
    /// an MMIO access could want.
    fn signal(&self, vector: u16);
}

/// An IOMMU, as the device behind it sees it. What it answers is used until
/// `Device::dma_changed` returns, and may be out of date until then.
///
/// It is asked while the device holds locks, by any of its threads: it must not
/// call the device.
pub trait Iommu: Send + Sync {
    /// Where the `length` bytes at `address` lead, if all of them are mapped, to
    /// one run of guest memory. `length` is a power of two of at least a page,
    /// `address` a multiple of it. No access is made, so nothing is refused.
    fn look(&self, address: u64, length: u64) -> Option<Place>;
    /// Where `address` leads, to the end of its page, for an access that needs
    /// `wanted` there. If it may not be made, the IOMMU makes that known.
    fn touch(&self, address: u64, wanted: Permits) -> Option<Place>;
}

/// Where a DMA address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Guest physical address.
    pub address: u64,
    /// What may be done there.
    pub permits: Permits,
}

/// What may be done with memory, or what an access needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    /// It may be read.
    pub read: bool,
    /// It may be written.
    pub write: bool,
}

impl Permits {
    /// Reading.
    pub const READ: Self = Self { read: true, write: false };
    /// Writing.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Both.
    pub const ALL: Self = Self { read: true, write: true };

    /// Whether an access that needs `wanted` may be made.
    #[inline]
    pub fn cover(self, wanted: Self) -> bool {
        (self.read || !wanted.read) && (self.write || !wanted.write)
    }

    /// What both permit.
    #[inline]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write }
    }
}
