// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An IOMMU that is a list of pages. DMA addresses are physical ones moved by a
//! fixed distance, but for pages of which a test says otherwise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use farfault_device_model::{Iommu, Permits, Place};

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// The IOMMU.
#[derive(Default)]
pub struct Pages {
    shift: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    otherwise: BTreeMap<u64, Option<Place>>,
    refused: Vec<(u64, Permits)>,
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
        let place = place.map(|(address, permits)| Place { address, permits });
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has failed with it")
    }

    /// Where the page of `address` leads.
    fn page(&self, state: &State, address: u64) -> Option<Place> {
        let page = address.checked_sub(self.shift)? & !(PAGE - 1);
        let same = Some(Place { address: page, permits: Permits::ALL });
        state.otherwise.get(&page).copied().unwrap_or(same)
    }
}

impl Iommu for Pages {
    fn look(&self, address: u64, length: u64) -> Option<Place> {
        let state = self.state();
        let mut whole = self.page(&state, address)?;
        for offset in (PAGE..length).step_by(PAGE as usize) {
            let page = self.page(&state, address + offset)?;
            if page.address != whole.address + offset {
                return None;
            }
            whole.permits = whole.permits.and(page.permits);
        }
        Some(whole)
    }

    fn touch(&self, address: u64, wanted: Permits) -> Option<Place> {
        let mut state = self.state();
        match self.page(&state, address) {
            Some(Place { address: page, permits }) if permits.cover(wanted) => {
                Some(Place { address: page + address % PAGE, permits })
            }
            _ => {
                let page = address.wrapping_sub(self.shift) & !(PAGE - 1);
                state.refused.push((page, wanted));
                None
            }
        }
    }
}
