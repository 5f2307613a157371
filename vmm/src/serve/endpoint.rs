// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device of one client, as vfio-user wants it: regions, interrupts, memory.

use super::below::Below;
use super::traffic::Counts;
use crate::accelerator;
use crate::output::tell;
use crate::pci::{CONFIG_SIZE, ConfigSpace, Endpoint as Kind, Function, PciDevice};
use farfault_abi::pci as abi;
use farfault_device_model::{Device, Permits};
use farfault_vfio_user::{DmaMap, Errno, IrqInfo, RegionInfo, Served, SetIrqs, Span};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use vm_memory::MmapRegion;
use vm_memory::mmap::MmapRegionError;

/// `VFIO_PCI_CONFIG_REGION_INDEX`; the BARs are 0 to 5.
const CONFIG: u32 = 7;
/// `VFIO_PCI_MSIX_IRQ_INDEX`.
const MSIX: u32 = 2;

pub struct Endpoint {
    device: Arc<Device>,
    below: Arc<Below>,
    function: Function,
    /// A map with a descriptor has come.
    shares: bool,
    /// It does not share its memory, and has been told so.
    refused: bool,
}

impl Endpoint {
    /// A function in front of `device`.
    pub fn new(device: Arc<Device>, below: Arc<Below>) -> Result<Self, MmapRegionError> {
        let page = Arc::new(MmapRegion::new(CONFIG_SIZE)?);
        let mut config =
            ConfigSpace::new(page, &accelerator::IDENTITY, accelerator::bars(Vec::new()));
        config.add_pcie(Kind::Linked);
        config.add_power();
        config.add_msix(accelerator::VECTORS);
        let function = Function::new(config, None, Arc::clone(&device) as _);
        Ok(Self { device, below, function, shares: false, refused: false })
    }

    fn count(&self, what: impl FnOnce(&mut Counts) -> &mut u64) {
        self.below.traffic.count(what);
    }

    /// A map without a descriptor. ROMs have none, and neither has memory of other devices;
    /// but the guest's own memory comes first.
    fn without_file(&mut self, map: &DmaMap) -> Result<(), Errno> {
        if self.shares || !map.write {
            return Ok(());
        }
        if !self.refused {
            tell(
                "farfault: the client does not share its memory: QEMU does with \
                 -object memory-backend-memfd,id=ram,size=SIZE,share=on -machine memory-backend=ram",
            );
        }
        self.refused = true;
        Err(Errno::INVAL)
    }
}

impl Served for Endpoint {
    fn admits(&self) -> Result<(), Errno> {
        if self.refused { Err(Errno::INVAL) } else { Ok(()) }
    }

    fn region(&self, index: u32) -> RegionInfo {
        let size = match index {
            abi::BAR_REGISTERS => abi::BAR_REGISTERS_SIZE,
            abi::BAR_DOORBELLS => abi::BAR_DOORBELLS_SIZE,
            CONFIG => CONFIG_SIZE as u64,
            _ => 0,
        };
        RegionInfo { size }
    }

    fn irqs(&self, index: u32) -> IrqInfo {
        IrqInfo { count: if index == MSIX { accelerator::VECTORS.into() } else { 0 } }
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) {
        self.count(|counts| match region {
            CONFIG => &mut counts.config_reads,
            _ => &mut counts.register_reads,
        });
        match region {
            CONFIG => self.function.read_config(offset as usize, data),
            bar => PciDevice::read(&*self.device, bar as usize, offset, data),
        }
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        self.count(|counts| match region {
            CONFIG => &mut counts.config_writes,
            abi::BAR_DOORBELLS => &mut counts.doorbells,
            _ => &mut counts.register_writes,
        });
        match region {
            // Where BARs are is the client's affair.
            CONFIG => drop(self.function.write_config(offset as usize, data)),
            bar => PciDevice::write(&*self.device, bar as usize, offset, data),
        }
    }

    fn map(&mut self, map: &DmaMap, file: Option<OwnedFd>) -> Result<(), Errno> {
        self.count(|counts| &mut counts.dma_maps);
        let Some(file) = file else { return self.without_file(map) };
        let DmaMap { span, offset, read, write } = *map;
        let (address, new) = {
            let maps = self.below.maps.maps.read();
            let unused = |stretch| !maps.lead_to(stretch);
            let size = span.last - span.first + 1;
            self.below.files.lock().place(file, offset, size, write, unused)?
        };
        self.shares = true;
        if new {
            self.device.memory_changed();
        }
        let maps = &self.below.maps.maps;
        self.device.change_dma(|_| maps.write().insert(span, address, Permits { read, write }))
    }

    fn unmap(&mut self, span: Span) -> Result<(), Errno> {
        self.count(|counts| &mut counts.dma_unmaps);
        self.device.change_dma(|gone| self.below.maps.maps.write().remove(span, gone));
        Ok(())
    }

    fn set_irqs(&mut self, set: &SetIrqs<'_>, events: Vec<OwnedFd>) -> Result<(), Errno> {
        self.count(|counts| &mut counts.interrupt_changes);
        // There are no others, and nothing is to be done to none.
        if set.index == MSIX { self.below.vectors.set(set, events) } else { Ok(()) }
    }

    fn reset(&mut self) {
        self.count(|counts| &mut counts.resets);
        drop(self.function.reset());
        self.below.vectors.reset();
    }

    fn goes_on(&self) -> bool {
        let cut_off = self.below.files.lock().is_cut_off();
        if cut_off {
            tell("farfault: the client's memory is a file that became shorter; it is seen off");
        }
        !cut_off
    }
}
