// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What has passed between a client and its device.

use parking_lot::Mutex;
use serde::Serialize;

/// Messages by what they were for, and what the device said to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub config_reads: u64,
    pub config_writes: u64,
    pub register_reads: u64,
    pub register_writes: u64,
    pub doorbells: u64,
    pub dma_maps: u64,
    pub dma_unmaps: u64,
    /// Times that eventfds of interrupts were set or taken away.
    pub interrupt_changes: u64,
    pub resets: u64,
    pub msix_sent: u64,
    /// Accesses of the device that the maps did not allow.
    pub dma_faults: u64,
}

/// The counts of one client.
#[derive(Debug, Default)]
pub struct Traffic(Mutex<Counts>);

impl Traffic {
    pub fn count(&self, what: impl FnOnce(&mut Counts) -> &mut u64) {
        *what(&mut self.0.lock()) += 1;
    }

    pub fn counts(&self) -> Counts {
        *self.0.lock()
    }
}
