// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the threads of a device share.
//!
//! Locks are taken in this order, each thread holding at most one of a kind:
//! gate, space, then any one of the rest, which are held for a few steps only.
//! Interrupts are sent while none of them is held, but those of an IOMMU, which
//! takes no lock that leads here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use farfault_abi::pci::{VECTOR_COMMAND, VECTOR_FAULT};

use crate::config::Config;
use crate::counters::{Live, count};
use crate::fault_queue::{FaultQueue, Posted};
use crate::gate::{Gate, Plane};
use crate::platform::Platform;
use crate::ram::Dma;
use crate::scheduler::Scheduler;
use crate::space::Spaces;
use crate::sync::Mutex;

/// The device's insides.
pub struct Shared {
    pub config: Config,
    pub platform: Arc<dyn Platform>,
    pub gate: Gate,
    pub spaces: Spaces,
    pub scheduler: Scheduler,
    pub faults: Mutex<FaultQueue>,
    pub counters: Live,
    errors: AtomicU32,
}

impl Shared {
    pub fn new(config: Config, platform: Arc<dyn Platform>) -> Self {
        Self {
            config,
            gate: Gate::new(Dma::new(&*platform)),
            platform,
            spaces: Spaces::new(),
            scheduler: Scheduler::new(),
            faults: Mutex::new(FaultQueue::default()),
            counters: Live::default(),
            errors: AtomicU32::new(0),
        }
    }

    /// Sets ERR bits.
    pub fn report(&self, errors: u32) {
        if errors != 0 {
            self.errors.fetch_or(errors, Ordering::Relaxed);
        }
    }

    /// ERR bits that are set.
    pub fn errors(&self) -> u32 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Clears ERR bits.
    pub fn clear_errors(&self, errors: u32) {
        self.errors.fetch_and(!errors, Ordering::Relaxed);
    }

    /// Writes waiting fault records; the caller is through the gate, and when
    /// it has left interrupts if so told.
    #[must_use]
    pub fn post_faults(&self, plane: &Plane) -> bool {
        let Posted { interrupt, errors } =
            self.faults.lock().drain(&plane.memory, plane.setup.faults, &self.counters);
        self.report(errors);
        interrupt
    }

    /// Sends an interrupt and counts it.
    pub fn signal(&self, vector: u16) {
        count(match u32::from(vector) {
            VECTOR_FAULT => &self.counters.msix_fault,
            VECTOR_COMMAND => &self.counters.msix_command,
            _ => &self.counters.msix_queue,
        });
        self.platform.signal(vector);
    }
}
