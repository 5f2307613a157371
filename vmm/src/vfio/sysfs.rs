// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What sysfs says of a function of the host: all that stands in the way of passing it through
//! and can be seen beforehand.

use super::address::PciAddress;
use super::error::PassthroughError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Drivers that leave a device alone, of which bridges are the only ones that do something.
const HARMLESS: [&str; 2] = ["pci-stub", "pcieport"];

/// The host's folders.
pub struct Host {
    pub sys: PathBuf,
    pub dev: PathBuf,
}

/// A function that can be passed through.
#[derive(Debug)]
pub struct Found {
    pub address: PciAddress,
    /// Its folder.
    pub path: PathBuf,
    /// Vendor and device.
    pub id: (u16, u16),
}

impl Host {
    /// This one.
    pub fn here() -> Host {
        Host { sys: "/sys".into(), dev: "/dev".into() }
    }

    /// The function at `address`.
    pub fn find(&self, address: PciAddress) -> Result<Found, PassthroughError> {
        use PassthroughError as E;
        let path = self.sys.join("bus/pci/devices").join(address.to_string());
        let id = |file| number(&path.join(file));
        let Some(id) = id("vendor").zip(id("device")) else { return Err(E::NoDevice(address)) };
        let Some(group) = target(&path.join("iommu_group")) else {
            return Err(E::NoIommu(address));
        };
        let driver = target(&path.join("driver"));
        if !driver.as_deref().is_some_and(is_vfio) {
            return Err(E::NotBound { address, driver });
        }
        let others = self.in_the_way(&group);
        if !others.is_empty() {
            return Err(E::NotViable { address, others });
        }
        for name in ["vfio", &group] {
            self.may_open(address, name)?;
        }
        Ok(Found { address, path, id })
    }

    /// Devices of a group that drivers of the host use, each with its driver.
    fn in_the_way(&self, group: &str) -> Vec<String> {
        let folder = self.sys.join("kernel/iommu_groups").join(group).join("devices");
        let devices = fs::read_dir(folder).into_iter().flatten().flatten();
        let used = devices.filter_map(|device| {
            let driver = target(&device.path().join("driver"))?;
            let harmless = is_vfio(&driver) || HARMLESS.contains(&driver.as_str());
            let name = device.file_name().to_string_lossy().into_owned();
            (!harmless).then(|| format!("{name} (of the driver {driver})"))
        });
        let mut used: Vec<_> = used.collect();
        used.sort();
        used
    }

    fn may_open(&self, address: PciAddress, name: &str) -> Result<(), PassthroughError> {
        use PassthroughError as E;
        let path = self.dev.join("vfio").join(name);
        match fs::File::options().read(true).write(true).open(&path) {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound => E::NoVfio(path),
                io::ErrorKind::PermissionDenied => E::Permission { address, path },
                io::ErrorKind::ResourceBusy => E::InUse(address),
                _ => E::Open { address, path, source: error },
            }),
        }
    }
}

/// `vfio-pci`, and its variants for the devices of one maker.
fn is_vfio(driver: &str) -> bool {
    driver.ends_with("vfio-pci") || driver.ends_with("vfio_pci")
}

/// The name of what a link leads to.
fn target(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}

fn number(file: &Path) -> Option<u16> {
    let text = fs::read_to_string(file).ok()?;
    u16::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}
