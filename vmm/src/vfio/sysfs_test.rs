// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is said of functions that cannot be passed through, on a host made of folders.

use super::sysfs::{Found, Host};
use super::{PassthroughError, PciAddress};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

const ADDRESS: &str = "0000:01:00.0";

struct Folders {
    root: TempDir,
}

impl Folders {
    /// A host on which nothing stands in the way.
    fn new() -> Folders {
        let folders = Folders { root: tempfile::tempdir().unwrap() };
        folders.add_device(ADDRESS, Some("vfio-pci"));
        for file in ["vfio", "7"] {
            folders.write(&format!("dev/vfio/{file}"), "");
        }
        folders
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root.path().join(path);
        let _ = fs::remove_file(&path);
        symlink(target, path).unwrap();
    }

    /// A device of IOMMU group 7.
    fn add_device(&self, address: &str, driver: Option<&str>) {
        let device = format!("sys/bus/pci/devices/{address}");
        self.write(&format!("{device}/vendor"), "0x1af4\n");
        self.write(&format!("{device}/device"), "0x10e4\n");
        self.link(&format!("{device}/iommu_group"), "../../../kernel/iommu_groups/7");
        let group = "sys/kernel/iommu_groups/7/devices";
        fs::create_dir_all(self.root.path().join(group)).unwrap();
        self.link(&format!("{group}/{address}"), &format!("../../../../bus/pci/devices/{address}"));
        if let Some(driver) = driver {
            self.link(&format!("{device}/driver"), &format!("../../drivers/{driver}"));
        }
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.root.path().join(path)).unwrap();
    }

    fn find(&self) -> Result<Found, PassthroughError> {
        let root = self.root.path();
        let host = Host { sys: root.join("sys"), dev: root.join("dev") };
        host.find(ADDRESS.parse::<PciAddress>().unwrap())
    }

    /// What is said, without this host's folders.
    fn refusal(&self) -> String {
        let error = self.find().expect_err("a refusal");
        error.to_string().replace(self.root.path().to_str().unwrap(), "")
    }
}

#[test]
fn a_function_of_vfio_is_found() {
    let folders = Folders::new();
    // What is in the group without being in the way.
    folders.add_device("0000:00:01.0", Some("pcieport"));
    folders.add_device("0000:01:00.1", None);
    folders.add_device("0000:01:00.2", Some("mlx5_vfio_pci"));
    let found = folders.find().expect("it is there");
    assert_eq!((found.id, found.address.to_string().as_str()), ((0x1af4, 0x10e4), ADDRESS));
}

#[test]
fn the_reason_and_what_to_do_are_one_line() {
    let device = format!("sys/bus/pci/devices/{ADDRESS}");
    let folders = Folders::new();
    folders.remove(&format!("{device}/driver"));
    let binding = "to give it to vfio-pci: modprobe vfio-pci; \
                   echo vfio-pci >/sys/bus/pci/devices/0000:01:00.0/driver_override; ";
    let probing = "echo 0000:01:00.0 >/sys/bus/pci/drivers_probe";
    let unbound = format!("--vfio {ADDRESS}: no driver has it; {binding}{probing}");
    assert_eq!(folders.refusal(), unbound);
    folders.add_device(ADDRESS, Some("nvme"));
    let unbinding = "echo 0000:01:00.0 >/sys/bus/pci/devices/0000:01:00.0/driver/unbind; ";
    let bound =
        format!("--vfio {ADDRESS}: the host's driver nvme has it; {binding}{unbinding}{probing}");
    assert_eq!(folders.refusal(), bound);
    folders.remove(&format!("{device}/iommu_group"));
    assert!(folders.refusal().starts_with("--vfio 0000:01:00.0: no IOMMU is in front of it"));
    folders.remove(&format!("{device}/vendor"));
    assert!(folders.find().expect_err("no device").is_usage());
}

#[test]
fn others_of_the_group_are_named() {
    let folders = Folders::new();
    folders.add_device("0000:02:00.0", Some("nvme"));
    folders.add_device("0000:01:00.1", Some("snd_hda_intel"));
    let expected = "--vfio 0000:01:00.0: the IOMMU cannot keep it apart from 0000:01:00.1 (of the \
                    driver snd_hda_intel), 0000:02:00.0 (of the driver nvme); bind these to \
                    vfio-pci, too, or to no driver";
    assert_eq!(folders.refusal(), expected);
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folders = Folders::new();
    let group = folders.root.path().join("dev/vfio/7");
    fs::set_permissions(&group, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may open it all the same.
    if fs::File::open(&group).is_err() {
        let expected = "--vfio 0000:01:00.0: you may not open /dev/vfio/7: chown it, or be root";
        assert_eq!(folders.refusal(), expected);
    }
    folders.remove("dev/vfio/7");
    assert_eq!(folders.refusal(), "--vfio: there is no /dev/vfio/7; modprobe vfio-pci makes it");
    fs::create_dir(&group).unwrap();
    assert_eq!(folders.refusal(), "--vfio 0000:01:00.0: cannot open /dev/vfio/7");
}
