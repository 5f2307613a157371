// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The client as the device sees it: memory, what leads there, and eventfds. The DMA maps are
//! an IOMMU to the device model, whose guest physical addresses nobody else knows.

use super::files::Files;
use super::maps::Maps;
use super::traffic::Traffic;
use super::vectors::Vectors;
use crate::accelerator::{self, RefusalLog};
use farfault_device_model::{DmaFault, Iommu, Mapping, Permits, Platform, Refusal};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use vm_memory::GuestMemoryMmap;

pub struct Below {
    pub files: Mutex<Files>,
    pub maps: Arc<DmaMaps>,
    pub vectors: Vectors,
    pub traffic: Arc<Traffic>,
    log: RefusalLog,
}

pub struct DmaMaps {
    /// Changed only within `Device::change_dma`, when no engine asks: nobody ever waits here.
    pub maps: RwLock<Maps>,
    traffic: Arc<Traffic>,
}

impl Below {
    /// A client that shares nothing yet.
    pub fn new() -> Self {
        let traffic = Arc::<Traffic>::default();
        let maps = DmaMaps { maps: RwLock::default(), traffic: Arc::clone(&traffic) };
        Self {
            files: Mutex::default(),
            maps: Arc::new(maps),
            vectors: Vectors::new(accelerator::VECTORS),
            traffic,
            log: RefusalLog::new(),
        }
    }
}

impl Platform for Below {
    fn memory(&self) -> Arc<GuestMemoryMmap> {
        Arc::new(self.files.lock().memory())
    }

    fn iommu(&self) -> Option<Arc<dyn Iommu>> {
        Some(Arc::clone(&self.maps) as _)
    }

    fn signal(&self, vector: u16) {
        self.traffic.count(|counts| &mut counts.msix_sent);
        self.vectors.signal(vector);
    }

    fn refused(&self, refusal: &Refusal) {
        self.log.tell(refusal);
    }
}

impl Iommu for DmaMaps {
    fn translate(&self, address: u64, wanted: Permits) -> Result<Mapping, DmaFault> {
        let mapping = self.maps.read().find(address).filter(|found| found.permits.cover(wanted));
        mapping.ok_or(DmaFault { address, wanted, reason: 0, silent: false })
    }

    fn refused(&self, _: &DmaFault) {
        self.traffic.count(|counts| &mut counts.dma_faults);
    }
}
