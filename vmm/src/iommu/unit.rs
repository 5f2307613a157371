// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The remapping unit as the device behind it sees it: every request is looked
//! up in the guest's tables as they are at that moment.

use super::faults::Faults;
use super::tables::{Denial, Domain};
use crate::pci::MessageSink;
use farfault_device_model::{DmaFault, Iommu, Mapping, Permits};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_memory::GuestMemoryMmap;

/// Writes to there are interrupt messages and are not translated (VT-d 3.15).
const MESSAGES: Range<u64> = 0xfee0_0000..0xfef0_0000;
/// In `Unit::state`, beside the root table address register: translation is on.
const ENABLED: u64 = 1;

pub struct Unit {
    memory: Arc<GuestMemoryMmap>,
    state: AtomicU64,
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

    fn translate(&self, source: u16, address: u64, wanted: Permits) -> Result<Mapping, Denial> {
        let root = self.state.load(Ordering::Acquire);
        let end = if address < MESSAGES.start { MESSAGES.start } else { u64::MAX };
        let left = end - address;
        if root & ENABLED == 0 || MESSAGES.contains(&address) {
            return Ok(Mapping { address, left, permits: Permits::ALL });
        }
        let found = Domain::of(&self.memory, root, source)?.find(&self.memory, address, wanted)?;
        Ok(Mapping { left: found.left.min(left), ..found })
    }
}

/// Where one function's requests enter the unit.
pub struct IommuPort {
    unit: Arc<Unit>,
    source: u16,
}

impl IommuPort {
    /// For the function with this bus, device and function number.
    pub fn new(unit: Arc<Unit>, source: u16) -> IommuPort {
        IommuPort { unit, source }
    }
}

impl Iommu for IommuPort {
    fn translate(&self, address: u64, wanted: Permits) -> Result<Mapping, DmaFault> {
        let found = self.unit.translate(self.source, address, wanted);
        found.map_err(|Denial { reason, silent }| {
            let reason = reason as u8;
            DmaFault { address, wanted, reason, silent }
        })
    }

    fn refused(&self, fault: &DmaFault) {
        if !fault.silent {
            self.unit.faults.record(self.source, fault);
        }
    }
}
