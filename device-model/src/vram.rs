// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of the device's own: what leaves with `PTE_DEVICE` lead to.
//!
//! The host gives a page of it when it is first touched, and gets all of it back at a
//! reset: what was there is gone then. Tables, contexts and rings are never in it.

use std::sync::Arc;
use vm_memory::{MmapRegion, VolatileMemory, VolatileSlice};

/// All of it, or none.
#[derive(Clone, Default)]
pub struct Vram(Option<Arc<MmapRegion>>);

impl Vram {
    /// So many bytes of zeroes; nothing if the host has no room for them.
    pub fn new(bytes: u64) -> Option<Self> {
        if bytes == 0 {
            return Some(Self::default());
        }
        let region = MmapRegion::new(usize::try_from(bytes).ok()?).ok()?;
        Some(Self(Some(Arc::new(region))))
    }

    pub fn slice(&self) -> Option<VolatileSlice<'_>> {
        self.0.as_ref().map(|region| region.as_volatile_slice())
    }
}
