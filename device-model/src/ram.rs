// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory as the device reaches it, by DMA address: through the IOMMU, if
//! there is one, and there is no other way.
//!
//! Everything here is done behind the gate, whose `mappings` say until when what
//! the IOMMU answered may be used (`gate.rs`).

use std::sync::Arc;

use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileSlice,
};

use crate::platform::{Iommu, Permits, Place, Platform};

/// A piece of guest memory, host address and length.
pub type Slice<'m> = VolatileSlice<'m, ()>;

/// Bytes of a page: no access goes beyond the end of one.
pub const PAGE: u64 = 4096;

/// A slice of nothing.
pub fn nothing<'m>() -> Slice<'m> {
    Slice::from(<&mut [u8]>::default())
}

/// Guest memory and the way to it.
#[derive(Clone)]
pub struct Dma {
    memory: Arc<GuestMemoryMmap>,
    iommu: Option<Arc<dyn Iommu>>,
}

impl Dma {
    /// As `platform` has them now.
    pub fn new(platform: &dyn Platform) -> Self {
        Self { memory: platform.memory(), iommu: platform.iommu() }
    }

    /// The `length` bytes at `address`, for an access that needs `wanted`.
    pub fn touch(&self, address: u64, length: u64, wanted: Permits) -> Option<Slice<'_>> {
        let Place { address, .. } = touch(self.iommu.as_deref(), address, length, wanted)?;
        self.memory.get_slice(GuestAddress(address), length as usize).ok()
    }

    /// Whether all of the `length` bytes at `address` can be accessed.
    pub fn holds(&self, address: u64, length: u64, wanted: Permits) -> bool {
        let Some(end) = address.checked_add(length) else { return false };
        let mut pages = (address & !(PAGE - 1)..end).step_by(PAGE as usize);
        pages.all(|page| {
            let (from, last) = (page.max(address), (page | (PAGE - 1)).min(end - 1));
            self.touch(from, last - from + 1, wanted).is_some()
        })
    }
}

/// All of it as an engine uses it: a few regions, each one slice.
///
/// `GuestMemoryMmap` answers the same question through several pointers; a
/// walk asks it for every page, and here it costs a comparison or two.
pub struct Ram<'m> {
    regions: Vec<(u64, Slice<'m>)>,
    iommu: Option<&'m dyn Iommu>,
}

impl<'m> Ram<'m> {
    /// What `dma` reaches.
    pub fn new(dma: &'m Dma) -> Self {
        let regions = dma.memory.iter().filter_map(|region| {
            Some((region.start_addr().raw_value(), region.as_volatile_slice().ok()?))
        });
        Self { regions: regions.collect(), iommu: dma.iommu.as_deref() }
    }

    /// The `length` bytes at `address` in one piece, and what may be done with
    /// them; nothing is accessed.
    #[inline]
    pub fn look(&self, address: u64, length: u64) -> Option<(Slice<'m>, Permits)> {
        let place = match self.iommu {
            None => Place { address, permits: Permits::ALL },
            Some(iommu) => iommu.look(address, length)?,
        };
        Some((self.slice(place.address, length)?, place.permits))
    }

    /// The same for an access that needs `wanted` and ends in the page it begins in.
    #[inline]
    pub fn touch(
        &self,
        address: u64,
        length: u64,
        wanted: Permits,
    ) -> Option<(Slice<'m>, Permits)> {
        let place = touch(self.iommu, address, length, wanted)?;
        Some((self.slice(place.address, length)?, place.permits))
    }

    #[inline]
    fn slice(&self, address: u64, length: u64) -> Option<Slice<'m>> {
        self.regions.iter().find_map(|(start, slice)| {
            let offset = address.checked_sub(*start)?;
            slice.subslice(offset as usize, length as usize).ok()
        })
    }
}

#[inline]
fn touch(iommu: Option<&dyn Iommu>, address: u64, length: u64, wanted: Permits) -> Option<Place> {
    match iommu {
        None => Some(Place { address, permits: Permits::ALL }),
        // What is behind the page's end may lead elsewhere.
        Some(_) if address % PAGE + length > PAGE => None,
        Some(iommu) => iommu.touch(address, wanted),
    }
}
