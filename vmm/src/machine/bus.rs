// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a vCPU's access reaches: I/O ports, configuration space, BARs, the IOMMU.

use super::layout::{ECAM, IOMMU};
use crate::devices::{PortBus, PowerRequest};
use crate::iommu::{self, IommuRegisters};
use crate::pci::{AddressMap, ECAM_SIZE, Root, within};
use parking_lot::Mutex;
use std::sync::Arc;

/// Everything outside RAM that a guest can address.
pub struct Bus {
    pub ports: PortBus,
    /// Where BARs are. They move one after the other. It goes before the devices that it has
    /// memory of.
    pub map: Mutex<AddressMap>,
    pub pci: Root,
    pub iommu: Option<Arc<IommuRegisters>>,
}

impl Bus {
    /// An `in` instruction, or a string of them: each reads the same port.
    pub fn read_port(&self, port: u16, size: usize, data: &mut [u8]) {
        data.chunks_mut(size).for_each(|element| self.ports.read(port, element));
    }

    /// An `out` instruction, or a string of them.
    pub fn write_port(&self, port: u16, size: usize, data: &[u8]) -> Option<PowerRequest> {
        data.chunks(size).find_map(|element| self.ports.write(port, element))
    }

    /// A load from where no RAM is. Where nothing is, all bits read as one.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) {
        if let Some(offset) = within(address, ECAM, ECAM_SIZE) {
            self.pci.read_config(offset, data);
        } else if let Some((iommu, offset)) = self.iommu_at(address) {
            iommu.read(offset, data);
        } else if !self.pci.read_memory(address, data) {
            data.fill(0xff);
        }
    }

    /// A store to where no RAM is, or where it is read-only.
    pub fn write_memory(&self, address: u64, data: &[u8]) {
        if let Some(offset) = within(address, ECAM, ECAM_SIZE) {
            self.pci.write_config(offset, data, &mut self.map.lock());
        } else if let Some((iommu, offset)) = self.iommu_at(address) {
            iommu.write(offset, data);
        } else {
            self.pci.write_memory(address, data);
        }
    }

    fn iommu_at(&self, address: u64) -> Option<(&IommuRegisters, u64)> {
        self.iommu.as_deref().zip(within(address, IOMMU, iommu::SIZE))
    }
}
