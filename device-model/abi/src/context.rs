// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The context table: a PASID's way to its page table.
//!
//! The device reads an entry on every walk and keeps no copy but in its TLB; an
//! entry that changes is made known by invalidating the whole PASID.

use crate::describe::{HeaderSection, constants, genmask, layout};

constants! { CONSTANTS;
    /// [`Context::root`]: the entry names a page table.
    CONTEXT_VALID: u64 = 1 << 0;
    /// [`Context::root`]: DMA address of the top-level table; all other bits are zero.
    CONTEXT_ROOT: u64 = genmask(51, 12);
}

layout! { STRUCTURES;
    /// An entry of the context table; the PASID is its index.
    Context as "ff_context", 16 bytes {
        /// CONTEXT bits.
        root: u64,
        /// Zero.
        reserved: u64,
    }
}

pub(crate) const SECTION: HeaderSection = HeaderSection {
    title: "Context table: PASID to page table",
    constants: CONSTANTS,
    structures: STRUCTURES,
};
