// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An IOMMU that is a list of pages. DMA addresses are physical ones moved by a
//! fixed distance, but for pages of which a test says otherwise.

use farfault_device_model::{DmaFault, Iommu, Mapping, Permits};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of the IOMMU's own pages, where no page inside leads elsewhere.
const LARGE: u64 = 2 << 20;

/// The IOMMU.
#[derive(Default)]
pub struct Pages {
    shift: u64,
    state: Mutex<PagesState>,
}

#[derive(Default)]
struct PagesState {
    otherwise: BTreeMap<u64, Option<(u64, Permits)>>,
    refused: Vec<(u64, Permits)>,
    asked: u64,
}

impl Pages {
    /// One whose DMA addresses are physical ones plus `shift`.
    pub fn new(shift: u64) -> Arc<Self> {
        Arc::new(Self { shift, ..Self::default() })
    }

    /// The distance.
    pub fn shift(&self) -> u64 {
        self.shift
    }

    /// Has the page of physical address `page` lead to another, or nowhere. The
    /// device is yet to be told.
    pub fn set(&self, page: u64, place: Option<(u64, Permits)>) {
        self.state().otherwise.insert(page & !(PAGE - 1), place);
    }

    /// Has all pages lead to themselves again.
    pub fn restore(&self) {
        self.state().otherwise.clear();
    }

    /// What was refused since the last call: page, and what was wanted there.
    pub fn take_refused(&self) -> Vec<(u64, Permits)> {
        std::mem::take(&mut self.state().refused)
    }

    fn state(&self) -> MutexGuard<'_, PagesState> {
        self.state.lock().expect("no test has failed with it")
    }

    /// How often it was asked since the last call.
    pub fn take_asked(&self) -> u64 {
        std::mem::take(&mut self.state().asked)
    }
}

impl Iommu for Pages {
    fn translate(&self, address: u64, wanted: Permits) -> Result<Mapping, DmaFault> {
        let mut state = self.state();
        state.asked += 1;
        let physical = address.wrapping_sub(self.shift);
        let (page, offset) = (physical & !(PAGE - 1), physical % PAGE);
        let same = (address >= self.shift).then_some((page, Permits::ALL));
        match state.otherwise.get(&page).copied().unwrap_or(same) {
            Some((page, permits)) if permits.cover(wanted) => {
                let large = physical & !(LARGE - 1)..(physical | (LARGE - 1));
                let whole = state.otherwise.range(large).next().is_none();
                let size = if whole { LARGE } else { PAGE };
                Ok(Mapping { address: page + offset, left: size - physical % size, permits })
            }
            _ => Err(DmaFault { address, wanted, reason: 0, silent: false }),
        }
    }

    fn refused(&self, fault: &DmaFault) {
        let page = fault.address.wrapping_sub(self.shift) & !(PAGE - 1);
        self.state().refused.push((page, fault.wanted));
    }
}
