// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the threads of a device share.
//!
//! Locks are taken in this order, each thread holding at most one of a kind:
//! gate, space, then any one of the rest, which are held for a few steps only.
//! Platform and IOMMU are told of interrupts and refusals while none of them is held.

use crate::atomic::Atomics;
use crate::config::DeviceConfig;
use crate::counters::{Live, count};
use crate::fault_queue::{FaultQueue, Posted};
use crate::faulty::Faulty;
use crate::gate::{Gate, Plane};
use crate::platform::Platform;
use crate::ram::Dma;
use crate::refusal::{Deferred, Refusal};
use crate::scheduler::Scheduler;
use crate::space::Spaces;
use crate::sync::Mutex;
use crate::vram::Vram;
use farfault_abi::fault::Fault;
use farfault_abi::pci::{VECTOR_COMMAND, VECTOR_FAULT};
use farfault_abi::regs::ERR_FAULT_OVERFLOW;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Shared {
    pub config: DeviceConfig,
    pub platform: Arc<dyn Platform>,
    pub gate: Gate,
    pub spaces: Spaces,
    pub scheduler: Scheduler,
    pub faults: Mutex<FaultQueue>,
    pub counters: Live,
    pub atomics: Atomics,
    pub faulty: Faulty,
    errors: AtomicU32,
}

impl Shared {
    pub fn new(config: DeviceConfig, platform: Arc<dyn Platform>, vram: Vram) -> Self {
        Self {
            atomics: Atomics::new(config.atomics),
            faulty: Faulty::new(&config),
            config,
            gate: Gate::new(Dma::new(&*platform), vram),
            platform,
            spaces: Spaces::new(),
            scheduler: Scheduler::new(),
            faults: Mutex::new(FaultQueue::default()),
            counters: Live::default(),
            errors: AtomicU32::new(0),
        }
    }

    /// Sets the ERR bit of what was refused, for [`Shared::tell`] to be told of when
    /// no lock is held.
    #[must_use]
    pub fn refuse(&self, refusal: Refusal) -> Refusal {
        self.set_errors(refusal.cause.error());
        refusal
    }

    pub fn set_errors(&self, errors: u32) {
        self.errors.fetch_or(errors, Ordering::Relaxed);
    }

    /// Tells of what was refused. No lock is held.
    pub fn tell(&self, refusal: &Refusal) {
        if let Some(fault) = &refusal.dma
            && let Some(iommu) = self.platform.iommu()
        {
            iommu.refused(fault);
        }
        self.platform.refused(refusal);
    }

    /// Does what a step has left to be done. No lock is held.
    pub fn settle(&self, deferred: &Deferred) {
        deferred.refusals.iter().for_each(|refusal| self.tell(refusal));
        deferred.interrupts.iter().for_each(|vector| self.signal(*vector as u16));
    }

    /// CTRL_ENABLE and STATUS_READY, which go together.
    pub fn is_enabled(&self) -> bool {
        self.gate.look().enabled
    }

    /// ERR bits that are set.
    pub fn errors(&self) -> u32 {
        self.errors.load(Ordering::Relaxed)
    }

    pub fn clear_errors(&self, errors: u32) {
        self.errors.fetch_and(!errors, Ordering::Relaxed);
    }

    /// Writes waiting fault records; the caller is through the gate, and settles
    /// when it has left.
    pub fn post_faults(&self, plane: &Plane, deferred: &mut Deferred) {
        let posted = self.faults.lock().drain(&plane.memory, plane.setup.faults, &self.counters);
        self.posted(posted, deferred);
    }

    /// Likewise a record that is lost if there is no room for it.
    pub fn post_access(&self, plane: &Plane, record: Fault, deferred: &mut Deferred) {
        let (memory, ring) = (&plane.memory, plane.setup.faults);
        let (posted, lost) = self.faults.lock().post_or_lose(record, memory, ring, &self.counters);
        count(match lost {
            false => &self.counters.access_records,
            true => &self.counters.access_records_lost,
        });
        self.posted(posted, deferred);
    }

    fn posted(&self, posted: Posted, deferred: &mut Deferred) {
        let Posted { interrupt, overflow, refusal } = posted;
        self.set_errors(if overflow { ERR_FAULT_OVERFLOW } else { 0 });
        deferred.interrupts.extend(interrupt.then_some(VECTOR_FAULT));
        deferred.refusals.extend(refusal.map(|refusal| self.refuse(refusal)));
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
