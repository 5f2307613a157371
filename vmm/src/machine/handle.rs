// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A hold on a running machine from any thread.

use super::end::{EndLatch, MachineEnd};
use super::exits::Exits;
use super::last_seen::LastSeen;
use super::saved::SaveError;
use super::standstill::{Hold, Standing, Standstill};
use crate::accelerator::Accelerator;
use crate::footprint::{self, PrivateDirty};
use crate::iommu::IommuRegisters;
use farfault_device_model::Counters;
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MachineCounters {
    /// Exits to this process for port I/O.
    pub pio_exits: u64,
    /// Exits to this process for memory-mapped I/O.
    pub mmio_exits: u64,
    /// Exits that were no accesses, such as interruptions by a signal.
    pub other_exits: u64,
    /// PIO and MMIO exits until [`Handle::mark_started`].
    pub boot_exits: u64,
    /// Doorbell writes that arrived through an ioeventfd, so without an exit.
    pub ioeventfd_doorbells: u64,
    /// MSI-X messages sent by the accelerator.
    pub msix_sent: u64,
    /// Accesses of the accelerator that the IOMMU refused.
    pub dma_faults: u64,
    /// Invalidations that the IOMMU has carried out.
    pub iommu_invalidations: u64,
}

/// Looks at a running machine from any thread, and stops it.
#[derive(Clone)]
pub struct Handle {
    pub(super) end: Arc<EndLatch>,
    pub(super) exits: Arc<Exits>,
    pub(super) last_seen: Arc<LastSeen>,
    /// Unless one of the host's takes its place.
    pub(super) accelerator: Option<Arc<Accelerator>>,
    pub(super) iommu: Option<Arc<IommuRegisters>>,
    pub(super) standstill: Arc<Standstill>,
    /// Whether debuggers may have its vCPUs stand still, and nobody else.
    pub(super) is_debugged: bool,
    /// Where guest RAM is in this process.
    pub(super) ram: Vec<Range<u64>>,
}

impl Handle {
    /// Asks the machine to stop; the run then ends as `MachineEnd::Stopped`,
    /// without waiting for anyone to read the guest's output. Called while
    /// output is flushed after an end of the guest's own, it cuts that short.
    pub fn stop(&self) {
        self.end.stop();
    }

    /// Ends the machine as if it had switched itself off: what it has written still arrives.
    pub fn switch_off(&self) {
        self.end.report(Ok(MachineEnd::PowerOff));
    }

    /// Has the machine stand still, if all of it is idle at this moment.
    pub fn stand_still(&self) -> Result<Standing, SaveError> {
        self.standstill.ask()
    }

    /// Has its vCPUs stand still, whatever they do, until what is returned is dropped. Not
    /// those of a machine with a debugger, of which no state is kept.
    pub fn hold(&self) -> Option<Hold> {
        if self.is_debugged { None } else { self.standstill.hold() }
    }

    /// Freezes `boot_exits`: the guest's PID 1 has said that it is up.
    pub fn mark_started(&self) {
        self.exits.mark_started();
    }

    pub fn machine_counters(&self) -> MachineCounters {
        let accelerator = self.accelerator.as_ref();
        let [pio_exits, mmio_exits, other_exits, boot_exits] = self.exits.read();
        MachineCounters {
            pio_exits,
            mmio_exits,
            other_exits,
            boot_exits,
            ioeventfd_doorbells: accelerator.map_or(0, |device| device.doorbells_rung()),
            msix_sent: accelerator.map_or(0, |device| device.messages_sent()),
            dma_faults: self.iommu.as_ref().map_or(0, |iommu| iommu.faults()),
            iommu_invalidations: self.iommu.as_ref().map_or(0, |iommu| iommu.invalidations()),
        }
    }

    /// The memory of this process, and of it the guest's.
    pub fn memory(&self) -> PrivateDirty {
        PrivateDirty::of("self", |range| footprint::covered(range, &self.ram))
    }

    /// The accelerator's own counters as of now; none of one that is the host's.
    pub fn device_counters(&self) -> Option<Counters> {
        self.accelerator.as_ref().map(|device| device.counters())
    }

    /// Where each vCPU was when the machine was stopped.
    pub fn last_seen(&self) -> Vec<String> {
        self.last_seen.lines()
    }

    /// Exits by port and address, for `-v`.
    pub fn histogram(&self) -> String {
        self.exits.histogram()
    }
}
