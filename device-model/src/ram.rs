// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory as the device reaches it, by DMA address: through the IOMMU, if
//! there is one, and there is no other way. And memory of the device's own, by offset.
//!
//! Everything here is done behind the gate, whose `unmapped` says until when what
//! the IOMMU answered may be used (`gate.rs`).

use crate::dma::{Mapping, Permits, Stretch, Unreachable};
use crate::platform::{Iommu, Platform};
use crate::vram::Vram;
use std::sync::Arc;
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileSlice,
};

/// A piece of guest memory, host address and length.
pub type Slice<'m> = VolatileSlice<'m, ()>;

pub const PAGE: u64 = 4096;

/// Where memory is in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub start: u64,
    pub bytes: u64,
}

/// Where a slice is.
pub fn place(slice: &Slice<'_>) -> Place {
    Place { start: slice.ptr_guard().as_ptr() as u64, bytes: slice.len() as u64 }
}

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

    /// No memory at all.
    pub fn none() -> Self {
        Self { memory: Arc::default(), iommu: None }
    }

    /// The `length` bytes at `address`, in a page, for an access that needs `wanted`.
    pub fn reach(
        &self,
        address: u64,
        length: u64,
        wanted: Permits,
    ) -> Result<Slice<'_>, Unreachable> {
        let place = translate(self.iommu.as_deref(), address, length, wanted)?;
        let slice = self.memory.get_slice(GuestAddress(place.address), length as usize);
        slice.map_err(|_| Unreachable { address, fault: None })
    }

    /// Whether all of the `length` bytes at `address` can be accessed.
    pub fn holds(&self, address: u64, length: u64, wanted: Permits) -> Result<(), Unreachable> {
        let end = address.checked_add(length).ok_or(Unreachable { address, fault: None })?;
        let mut pages = (address & !(PAGE - 1)..end).step_by(PAGE as usize);
        pages.try_for_each(|page| {
            let (from, last) = (page.max(address), (page | (PAGE - 1)).min(end - 1));
            self.reach(from, last - from + 1, wanted).map(drop)
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
    vram: Option<Slice<'m>>,
    /// Where that is.
    own: Place,
}

impl<'m> Ram<'m> {
    /// What `dma` reaches, and `vram`.
    pub fn new(dma: &'m Dma, vram: &'m Vram) -> Self {
        let regions = dma.memory.iter().filter_map(|region| {
            Some((region.start_addr().raw_value(), region.as_volatile_slice().ok()?))
        });
        let vram = vram.slice();
        let own = vram.as_ref().map_or(Place { start: 0, bytes: 0 }, place);
        Self { regions: regions.collect(), iommu: dma.iommu.as_deref(), vram, own }
    }

    /// As [`Ram::reach`], of device memory, where nothing is forbidden.
    pub fn reach_device(
        &self,
        offset: u64,
        length: u64,
        _wanted: Permits,
    ) -> Result<(Slice<'m>, Permits), Unreachable> {
        let slice = self
            .vram
            .as_ref()
            .and_then(|vram| vram.subslice(usize::try_from(offset).ok()?, length as usize).ok());
        let unreachable = Unreachable { address: offset, fault: None };
        slice.map(|slice| (slice, Permits::ALL)).ok_or(unreachable)
    }

    /// Whether there is device memory.
    #[inline]
    pub fn has_device(&self) -> bool {
        self.vram.is_some()
    }

    /// Whether a slice is of device memory.
    #[inline]
    pub fn is_device(&self, slice: &Slice<'_>) -> bool {
        place(slice).start.wrapping_sub(self.own.start) < self.own.bytes
    }

    /// The `length` bytes at `address` in one piece, for an access that needs
    /// `wanted`, and what may be done with them.
    #[inline]
    pub fn reach(
        &self,
        address: u64,
        length: u64,
        wanted: Permits,
    ) -> Result<(Slice<'m>, Permits), Unreachable> {
        let place = translate(self.iommu, address, length, wanted)?;
        let slice = self.slice(place.address, length);
        Ok((slice.ok_or(Unreachable { address, fault: None })?, place.permits))
    }

    /// Where in this process a stretch of memory is, as far as there is any.
    pub fn places(&self, stretch: Stretch) -> impl Iterator<Item = Place> {
        self.regions.iter().filter_map(move |(start, slice)| {
            let end = start.checked_add(slice.len() as u64)?;
            let (from, last) = (stretch.start.max(*start), stretch.last.min(end.checked_sub(1)?));
            let bytes = last.checked_sub(from)? + 1;
            Some(Place { start: place(slice).start + (from - start), bytes })
        })
    }

    #[inline]
    fn slice(&self, address: u64, length: u64) -> Option<Slice<'m>> {
        self.regions.iter().find_map(|(start, slice)| {
            let offset = address.checked_sub(*start)?;
            slice.subslice(offset as usize, length as usize).ok()
        })
    }
}

/// Where all of the `length` bytes at `address` lead.
#[inline]
fn translate(
    iommu: Option<&dyn Iommu>,
    address: u64,
    length: u64,
    wanted: Permits,
) -> Result<Mapping, Unreachable> {
    let Some(iommu) = iommu else {
        return Ok(Mapping { address, left: length, permits: Permits::ALL });
    };
    match iommu.translate(address, wanted) {
        Ok(mapping) if mapping.left >= length => Ok(mapping),
        // What is behind the end of the IOMMU's page may lead elsewhere.
        Ok(_) => Err(Unreachable { address, fault: None }),
        Err(fault) => Err(Unreachable { address, fault: Some(fault) }),
    }
}
