// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The remapping unit as the device behind it sees it: every request is looked
//! up in the guest's tables as they are at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use farfault_device_model::{Iommu, Permits, Place};
use vm_memory::GuestMemoryMmap;

use super::faults::Faults;
use super::tables::{Domain, Mapping, Refusal};
use crate::pci::MessageSink;

/// Most pages that are put together to answer one question. A leaf of the device
/// is so many of the next smaller ones.
const MOST_PAGES: usize = 512;
/// Writes to there are interrupt messages and are not translated (VT-d 3.15).
const MESSAGES: std::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;
/// In `Unit::state`, beside the root table address register: translation is on.
const ENABLED: u64 = 1;

/// The unit.
pub struct Unit {
    memory: Arc<GuestMemoryMmap>,
    state: AtomicU64,
    /// What it refused.
    pub(super) faults: Faults,
}

impl Unit {
    /// A unit that translates nothing yet and reports by messages to `sink`.
    pub fn new(memory: Arc<GuestMemoryMmap>, sink: Box<dyn MessageSink>) -> Arc<Unit> {
        Arc::new(Unit { memory, state: AtomicU64::new(0), faults: Faults::new(sink) })
    }

    /// Translates through the root table that its register names, or not at all.
    pub(super) fn set(&self, root: u64, enabled: bool) {
        let state = if enabled { root | ENABLED } else { root & !ENABLED };
        self.state.store(state, Ordering::Release);
    }

    /// How requests of `source` are treated; nothing if they are not translated.
    fn domain(&self, source: u16) -> Result<Option<Domain>, Refusal> {
        match self.state.load(Ordering::Acquire) {
            root if root & ENABLED != 0 => Domain::of(&self.memory, root, source).map(Some),
            _ => Ok(None),
        }
    }

    fn find(&self, source: u16, address: u64, wanted: Permits) -> Result<Place, Refusal> {
        let untranslated = Place { address, permits: Permits::ALL };
        if MESSAGES.contains(&address) {
            return Ok(untranslated);
        }
        let Some(domain) = self.domain(source)? else { return Ok(untranslated) };
        let Mapping { address, permits, .. } = domain.find(&self.memory, address, wanted)?;
        Ok(Place { address, permits })
    }
}

/// Where one function's requests enter the unit.
pub struct Port {
    unit: Arc<Unit>,
    source: u16,
}

impl Port {
    /// For the function with this bus, device and function number.
    pub fn new(unit: Arc<Unit>, source: u16) -> Port {
        Port { unit, source }
    }
}

impl Iommu for Port {
    fn look(&self, address: u64, length: u64) -> Option<Place> {
        const NOTHING: Permits = Permits { read: false, write: false };
        let memory = &self.unit.memory;
        if address < MESSAGES.end && address.saturating_add(length) > MESSAGES.start {
            return None;
        }
        let Some(domain) = self.unit.domain(self.source).ok()? else {
            return Some(Place { address, permits: Permits::ALL });
        };
        let first = domain.find(memory, address, NOTHING).ok()?;
        let mut place = Place { address: first.address, permits: first.permits };
        let mut done = first.left;
        for _ in 1..MOST_PAGES {
            if done >= length {
                break;
            }
            let next = domain.find(memory, address.checked_add(done)?, NOTHING).ok()?;
            if next.address != place.address + done {
                return None;
            }
            place.permits = place.permits.and(next.permits);
            done += next.left;
        }
        (done >= length).then_some(place)
    }

    fn touch(&self, address: u64, wanted: Permits) -> Option<Place> {
        let unit = &self.unit;
        let found = unit.find(self.source, address, wanted);
        let tell = |refusal: &Refusal| {
            if !refusal.silent {
                unit.faults.record(self.source, address, wanted, refusal.reason);
            }
        };
        found.inspect_err(tell).ok()
    }
}
