// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory as an engine uses it: a few regions, each one slice.
//!
//! `GuestMemoryMmap` answers the same question through several pointers; a
//! walk asks it for every page, and here it costs a comparison or two.

use vm_memory::{Address, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, VolatileSlice};

/// A piece of guest memory, host address and length.
pub type Slice<'m> = VolatileSlice<'m, ()>;

/// A slice of nothing.
pub fn nothing<'m>() -> Slice<'m> {
    Slice::from(<&mut [u8]>::default())
}

/// All of guest memory.
#[derive(Debug)]
pub struct Ram<'m> {
    regions: Vec<(u64, Slice<'m>)>,
}

impl<'m> Ram<'m> {
    /// The regions of `memory`.
    pub fn new(memory: &'m GuestMemoryMmap) -> Self {
        let regions = memory.iter().filter_map(|region| {
            Some((region.start_addr().raw_value(), region.as_volatile_slice().ok()?))
        });
        Self { regions: regions.collect() }
    }

    /// The `length` bytes at `address`, if one region holds them all.
    #[inline]
    pub fn slice(&self, address: u64, length: u64) -> Option<Slice<'m>> {
        self.regions.iter().find_map(|(start, slice)| {
            let offset = address.checked_sub(*start)?;
            slice.subslice(offset as usize, length as usize).ok()
        })
    }
}
