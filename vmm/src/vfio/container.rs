// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the functions of a guest have in common: the IOMMU's view of the guest's memory.
#![allow(unsafe_code)] // Devices are given addresses of this process.

use super::device::VfioFunction;
use super::error::PassthroughError;
use super::sysfs::Found;
use kvm_ioctls::DeviceFd;
use nix::libc::{EBUSY, EFAULT, ENOMEM, EPERM};
use std::sync::Arc;
use vfio_ioctls::{VfioContainer, VfioDevice, VfioDeviceFd, VfioError, VfioOps};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// Functions that reach the same memory.
pub struct Container {
    vfio: Arc<VfioContainer>,
    memory: Arc<GuestMemoryMmap>,
}

impl Container {
    /// Nothing is in it. `kvm` is told of the functions, so that it knows that there are some.
    pub fn new(
        kvm: Option<DeviceFd>,
        memory: &Arc<GuestMemoryMmap>,
    ) -> Result<Container, PassthroughError> {
        let kvm = kvm.map(|device| Arc::new(VfioDeviceFd::new_from_kvm(device)));
        let vfio = Arc::new(VfioContainer::new(kvm).map_err(PassthroughError::Container)?);
        Ok(Container { vfio, memory: Arc::clone(memory) })
    }

    /// Opens functions, which from then on can reach all memory of the guest.
    pub fn open(&self, all: &[Found]) -> Result<Vec<VfioFunction>, PassthroughError> {
        let opened = all.iter().map(|found| self.open_one(found)).collect::<Result<_, _>>()?;
        // The container has an IOMMU only with its first function. And QEMU's IOMMU for AMD does
        // not tell a device behind vfio-user of what was mapped before that came.
        self.fill()?;
        Ok(opened)
    }

    fn open_one(&self, found: &Found) -> Result<VfioFunction, PassthroughError> {
        let Found { address, path, .. } = found;
        let shared = Arc::clone(&self.vfio) as Arc<dyn VfioOps>;
        let device = VfioDevice::new(path, shared, true).map_err(|source| match source {
            VfioError::ContainerSetIOMMU(error) if error.errno() == EPERM => {
                PassthroughError::UnsafeInterrupts(*address)
            }
            VfioError::GroupGetDeviceFD(error) if error.errno() == EBUSY => {
                PassthroughError::InUse(*address)
            }
            source => PassthroughError::Refused { address: *address, source },
        })?;
        Ok(VfioFunction(device))
    }

    /// Maps all memory where the guest has it.
    fn fill(&self) -> Result<(), PassthroughError> {
        self.memory.iter().try_for_each(|region| {
            let (start, size) = (region.start_addr().0, region.len() as usize);
            // SAFETY: the range is a whole mapping of memory that is the guest's, reached by
            // volatile access only. VFIO pins its pages: they are the device's until the
            // container is closed, whatever becomes of the mapping.
            unsafe { self.vfio.vfio_dma_map(start, size, region.as_ptr()) }
                .map_err(|error| self.unmapped(error, region.file_offset().is_some()))
        })
    }

    fn unmapped(&self, error: VfioError, is_file: bool) -> PassthroughError {
        match error {
            VfioError::IommuDmaMap(error) if error.errno() == EFAULT && is_file => {
                PassthroughError::Pmem
            }
            VfioError::IommuDmaMap(error) if error.errno() == ENOMEM => {
                let bytes = self.memory.iter().map(|region| region.len()).sum();
                PassthroughError::Locked { bytes }
            }
            error => PassthroughError::Memory(error),
        }
    }
}
