// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why a function of the host cannot be passed through, and what to do about it.

use super::address::PciAddress;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum PassthroughError {
    #[error("--vfio {0}: there is no such PCI device on this host (lspci -D lists them)")]
    NoDevice(PciAddress),
    #[error("--vfio {0}: it is named twice")]
    Twice(PciAddress),
    #[error(
        "--vfio {0}: no IOMMU is in front of it; one has to be enabled in the firmware, and for \
         the kernel (intel_iommu=on, on Intel's)"
    )]
    NoIommu(PciAddress),
    #[error(
        "--vfio {address}: {}; to give it to vfio-pci: modprobe vfio-pci; \
         echo vfio-pci >/sys/bus/pci/devices/{address}/driver_override; {}\
         echo {address} >/sys/bus/pci/drivers_probe",
        whose(driver),
        unbinding(address, driver)
    )]
    NotBound { address: PciAddress, driver: Option<String> },
    #[error(
        "--vfio {address}: the IOMMU cannot keep it apart from {}; bind these to vfio-pci, too, \
         or to no driver", others.join(", ")
    )]
    NotViable { address: PciAddress, others: Vec<String> },
    #[error("--vfio: there is no {}; modprobe vfio-pci makes it", .0.display())]
    NoVfio(PathBuf),
    #[error("--vfio {address}: you may not open {}: chown it, or be root", path.display())]
    Permission { address: PciAddress, path: PathBuf },
    #[error("--vfio {0}: another process has it, or a function of the same IOMMU group")]
    InUse(PciAddress),
    #[error("--vfio {address}: cannot open {}", path.display())]
    Open {
        address: PciAddress,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "--vfio {0}: the host's IOMMU does not remap interrupts, so a guest could forge them; \
         allow_unsafe_interrupts=1 of the module vfio_iommu_type1 permits that"
    )]
    UnsafeInterrupts(PciAddress),
    #[error("--vfio {address}: VFIO refuses it")]
    Refused {
        address: PciAddress,
        #[source]
        source: vfio_ioctls::VfioError,
    },
    #[error("--vfio: the host's VFIO cannot be used; modprobe vfio_iommu_type1 may help")]
    Container(#[source] vfio_ioctls::VfioError),
    #[error(
        "--vfio: all of the guest's {} MiB of memory must stay in RAM for the device, and this \
         process may not lock so much; ulimit -l says how much, and root may always",
        bytes >> 20
    )]
    Locked { bytes: u64 },
    #[error(
        "--vfio: the guest's persistent memory must be in a file of tmpfs (/dev/shm): what other \
         file systems keep no device may write"
    )]
    Pmem,
    #[error("--vfio: the IOMMU does not take the guest's memory")]
    Memory(#[source] vfio_ioctls::VfioError),
}

impl PassthroughError {
    /// Whether something was asked for that no host can do.
    pub fn is_usage(&self) -> bool {
        matches!(self, PassthroughError::NoDevice(_) | PassthroughError::Twice(_))
    }
}

fn whose(driver: &Option<String>) -> String {
    match driver {
        Some(driver) => format!("the host's driver {driver} has it"),
        None => "no driver has it".to_owned(),
    }
}

fn unbinding(address: &PciAddress, driver: &Option<String>) -> String {
    let line = || format!("echo {address} >/sys/bus/pci/devices/{address}/driver/unbind; ");
    driver.as_ref().map_or(String::new(), |_| line())
}
