// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be said of a DMA address.

/// Where a DMA address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Guest physical address.
    pub address: u64,
    /// Bytes from there to the end of the page, large or small.
    pub left: u64,
    /// What may be done there.
    pub permits: Permits,
}

/// Guest physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// The first.
    pub start: u64,
    /// The last, which may be the last of all.
    pub last: u64,
}

impl Stretch {
    /// Every address.
    pub const ALL: Self = Self { start: 0, last: u64::MAX };
}

/// An access that an IOMMU does not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaFault {
    /// DMA address.
    pub address: u64,
    /// What the access needed.
    pub wanted: Permits,
    /// Why, in the IOMMU's own numbers.
    pub reason: u8,
    /// The guest has asked the IOMMU not to be told.
    pub silent: bool,
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

/// Memory that cannot be reached: there is none, or the IOMMU is against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// DMA address.
    pub address: u64,
    /// What the IOMMU says.
    pub fault: Option<DmaFault>,
}
