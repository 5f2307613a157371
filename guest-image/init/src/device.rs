// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator in the machine, and its driver's node. A machine may get it late: when its
//! state has been kept, which cannot have the device in it.

use crate::failure::Failure;
use std::fs;
use std::path::Path;

const NODE: &str = "/dev/farfault0";
const DEVICES: &str = "/sys/bus/pci/devices";
const RESCAN: &str = "/sys/bus/pci/rescan";
const VENDOR: &str = "0x1234";
const ID: &str = "0xfa17";

/// Whether the machine has it.
pub fn exists() -> bool {
    is_among(Path::new(DEVICES))
}

/// Fails unless its driver has taken it.
pub fn require_node() -> Result<(), Failure> {
    if Path::new(NODE).exists() { Ok(()) } else { Err(Failure::Unbound { node: NODE }) }
}

/// Has the kernel look for what was plugged in; drivers that are loaded have probed it then. Not
/// every kernel has PCI hotplug, and that of PCIe itself waits 5 s for its attention button.
pub fn find() -> Result<(), Failure> {
    fs::write(RESCAN, "1").map_err(Failure::file("write", RESCAN))?;
    if exists() { Ok(()) } else { Err(Failure::NoDevice) }
}

fn is_among(devices: &Path) -> bool {
    let Ok(found) = fs::read_dir(devices) else { return false };
    found.flatten().any(|entry| {
        let reads = |name: &str, id: &str| {
            fs::read_to_string(entry.path().join(name)).is_ok_and(|text| text.trim() == id)
        };
        reads("vendor", VENDOR) && reads("device", ID)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_told_by_both_ids() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("devices");
        let function = |name: &str, vendor: &str, device: &str| {
            let path = root.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("vendor"), vendor).unwrap();
            fs::write(path.join("device"), device).unwrap();
        };
        assert!(!is_among(&root), "no bus at all");
        function("0000:00:01.0", "0x1234\n", "0x1111\n");
        function("0000:00:02.0", "0x8086\n", "0xfa17\n");
        assert!(!is_among(&root), "only half an identity each");
        function("0000:00:03.0", "0x1234\n", "0xfa17\n");
        assert!(is_among(&root));
    }
}
