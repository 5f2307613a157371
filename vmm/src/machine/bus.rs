// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a vCPU's access reaches: I/O ports, configuration space, BARs, the IOMMU.

use super::layout::{ECAM, IOMMU};
use crate::devices::{PortBus, PowerRequest};
use crate::iommu::{self, Iommu};
use crate::pci::{ECAM_SIZE, Root};
use std::sync::Arc;

/// Everything outside RAM that a guest can address.
pub struct Bus {
    /// The I/O port space.
    pub ports: PortBus,
    /// PCI.
    pub pci: Root,
    /// The IOMMU, if there is one.
    pub iommu: Option<Arc<Iommu>>,
}

impl Bus {
    /// An `in` instruction.
    pub fn read_port(&self, port: u16, data: &mut [u8]) {
        for element in elements_mut(data) {
            self.ports.read(port, element);
        }
    }

    /// An `out` instruction.
    pub fn write_port(&self, port: u16, data: &[u8]) -> PowerRequest {
        let mut asked = PowerRequest::None;
        for element in data.chunks(element_size(data.len())) {
            let action = self.ports.write(port, element);
            asked = if asked == PowerRequest::None { action } else { asked };
        }
        asked
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
            self.pci.write_config(offset, data);
        } else if let Some((iommu, offset)) = self.iommu_at(address) {
            iommu.write(offset, data);
        } else {
            self.pci.write_memory(address, data);
        }
    }

    fn iommu_at(&self, address: u64) -> Option<(&Iommu, u64)> {
        self.iommu.as_deref().zip(within(address, IOMMU, iommu::SIZE))
    }
}

/// The offset of `address` in `size` bytes at `base`.
fn within(address: u64, base: u64, size: u64) -> Option<u64> {
    address.checked_sub(base).filter(|offset| *offset < size)
}

/// KVM hands over the data of a repeated instruction in one piece and
/// kvm-ioctls does not pass on the size of an element. Up to 4 bytes it is
/// taken for one access; more can only be a string, of bytes for all that
/// this machine has.
fn element_size(length: usize) -> usize {
    if matches!(length, 1 | 2 | 4) { length } else { 1 }
}

fn elements_mut(data: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let size = element_size(data.len());
    data.chunks_mut(size)
}
