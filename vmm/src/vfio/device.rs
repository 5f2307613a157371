// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A function of the host through VFIO.
#![allow(unsafe_code)] // vfio-ioctls gives out a bare descriptor, without a lifetime.

use super::host::{HostFunction, Way};
use crate::mapping::Mapping;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use vfio_bindings::bindings::vfio as abi;
use vfio_ioctls::{VfioDevice, VfioError, VfioRegionInfoCap};
use vmm_sys_util::eventfd::EventFd;

const CONFIG: u32 = abi::VFIO_PCI_CONFIG_REGION_INDEX;

/// Closed when dropped; by then it is in nobody's way.
pub struct VfioFunction(pub VfioDevice);

impl HostFunction for VfioFunction {
    fn config_size(&self) -> usize {
        self.0.get_region_size(CONFIG) as usize
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        data.fill(0xff);
        self.0.region_read(CONFIG, data, offset as u64);
    }

    fn write_config(&self, offset: usize, data: &[u8]) {
        self.0.region_write(CONFIG, data, offset as u64);
    }

    fn bar_size(&self, bar: usize) -> u64 {
        self.0.get_region_size(bar as u32)
    }

    fn mappable(&self, bar: usize) -> Vec<Range<u64>> {
        let both = abi::VFIO_REGION_INFO_FLAG_READ | abi::VFIO_REGION_INFO_FLAG_WRITE;
        let needed = both | abi::VFIO_REGION_INFO_FLAG_MMAP;
        if self.0.get_region_flags(bar as u32) & needed != needed {
            return Vec::new();
        }
        let sparse = self.0.get_region_caps(bar as u32).into_iter().find_map(|cap| match cap {
            VfioRegionInfoCap::SparseMmap(sparse) => Some(sparse.areas),
            _ => None,
        });
        match sparse {
            Some(areas) => {
                let range = |offset: u64, size| Some(offset..offset.checked_add(size)?);
                areas.iter().filter_map(|area| range(area.offset, area.size)).collect()
            }
            None => std::iter::once(0..self.bar_size(bar)).collect(),
        }
    }

    fn map(&self, bar: usize, range: Range<u64>) -> io::Result<Mapping> {
        // SAFETY: the device, which is borrowed until the end of this function, has it open.
        let device = unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) };
        let offset = self.0.get_region_offset(bar as u32) + range.start;
        Mapping::of(device, offset, range.end - range.start)
    }

    fn read_bar(&self, bar: usize, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        self.0.region_read(bar as u32, data, offset);
    }

    fn write_bar(&self, bar: usize, offset: u64, data: &[u8]) {
        self.0.region_write(bar as u32, data, offset);
    }

    fn interrupts(&self, way: Way) -> usize {
        self.0.get_irq_info(index(way)).map_or(0, |irq| irq.count as usize)
    }

    fn raise(&self, way: Way, events: &[&EventFd]) -> io::Result<()> {
        self.0.enable_irq(index(way), events.to_vec()).map_err(failed)
    }

    fn silence(&self, way: Way) {
        // Fails only for a way that it does not have.
        let _ = self.0.disable_irq(index(way));
    }

    fn wait_for(&self, served: &EventFd) -> io::Result<()> {
        self.0.set_irq_resample_fd(index(Way::Line), vec![served]).map_err(failed)
    }

    fn reset(&self) {
        self.0.reset();
    }
}

fn index(way: Way) -> u32 {
    match way {
        Way::Line => abi::VFIO_PCI_INTX_IRQ_INDEX,
        Way::Msi => abi::VFIO_PCI_MSI_IRQ_INDEX,
        Way::Msix => abi::VFIO_PCI_MSIX_IRQ_INDEX,
    }
}

fn failed(error: VfioError) -> io::Error {
    io::Error::other(error)
}
