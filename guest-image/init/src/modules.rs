// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel modules: those that the image lists for its role, and the driver.
//!
//! The image has worked out the order, so that the guest needs no modprobe.
//! A line of the list is a path.

use crate::failure::{self, Failure};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;

const LIST: &str = "/farfault/modules";
const DRIVER: &str = "/lib/modules/farfault.ko";
const DRIVER_NODE: &str = "/dev/farfault0";
const PCI_DEVICES: &str = "/sys/bus/pci/devices";
const VENDOR: &str = "0x1234";
const DEVICE: &str = "0xfa17";

/// Loads the modules that the image lists.
pub fn load_listed() -> Result<(), Failure> {
    let list = failure::read(LIST)?;
    paths(&String::from_utf8_lossy(&list)).try_for_each(|path| load(path, ""))
}

/// Loads the guest driver if the machine has the device.
pub fn load_driver(params: &str) -> Result<(), Failure> {
    if !has_device(Path::new(PCI_DEVICES)) {
        return Ok(());
    }
    load(DRIVER, params)?;
    if Path::new(DRIVER_NODE).exists() {
        Ok(())
    } else {
        Err(Failure::Unbound { node: DRIVER_NODE })
    }
}

/// Fails unless the machine can run guests.
pub fn require_kvm() -> Result<(), Failure> {
    if Path::new("/dev/kvm").exists() { Ok(()) } else { Err(Failure::NoKvm) }
}

fn paths(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|path| !path.is_empty())
}

fn load(path: &str, params: &str) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| Failure::File {
        action: "open",
        path: path.into(),
        error,
    })?;
    let refused = |errno| Failure::Module { path: path.into(), params: params.into(), errno };
    let parameters = CString::new(params).map_err(|_| refused(Errno::EINVAL))?;
    finit_module(&file, &parameters, ModuleInitFlags::empty()).map_err(refused)
}

fn has_device(devices: &Path) -> bool {
    let Ok(found) = fs::read_dir(devices) else { return false };
    found.flatten().any(|entry| {
        let reads = |name: &str, id: &str| {
            fs::read_to_string(entry.path().join(name)).is_ok_and(|text| text.trim() == id)
        };
        reads("vendor", VENDOR) && reads("device", DEVICE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_keeps_its_order() {
        let list = "/lib/modules/kvm.ko\n\n  /lib/modules/kvm-amd.ko \n/a";
        let expected = ["/lib/modules/kvm.ko", "/lib/modules/kvm-amd.ko", "/a"];
        assert_eq!(paths(list).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_device_is_told_by_both_ids() {
        let root = std::env::temp_dir().join(format!("farfault-pci-{}", std::process::id()));
        let function = |name: &str, vendor: &str, device: &str| {
            let path = root.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("vendor"), vendor).unwrap();
            fs::write(path.join("device"), device).unwrap();
        };
        assert!(!has_device(&root), "no bus at all");
        function("0000:00:01.0", "0x1234\n", "0x1111\n");
        function("0000:00:02.0", "0x8086\n", "0xfa17\n");
        assert!(!has_device(&root), "only half an identity each");
        function("0000:00:03.0", "0x1234\n", "0xfa17\n");
        assert!(has_device(&root));
        fs::remove_dir_all(&root).unwrap();
    }
}
