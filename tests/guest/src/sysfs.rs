// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device and its driver in sysfs.

use crate::Failure;
use crate::kernel_files::{Setting, read, write};
use crate::ktap::Outcome;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

const DRIVER: &str = "/sys/bus/pci/drivers/farfault";
const PARAMETERS: &str = "/sys/module/farfault/parameters";

/// Offset of the command register in configuration space, and its bus master bit.
const COMMAND: u64 = 4;
const BUS_MASTER: u8 = 1 << 2;

/// PCI address of the device, which the driver is bound to.
pub fn device() -> Result<String, Failure> {
    let entries = fs::read_dir(DRIVER).map_err(|error| format!("{DRIVER}: {error}"))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut devices = names.filter(|name| name.contains(':'));
    devices.next().ok_or_else(|| "the driver has no device".into())
}

/// Unbinds or binds the driver.
pub fn bind(what: &str, device: &str) -> Outcome {
    write(&format!("{DRIVER}/{what}"), device)
}

/// Has the driver probe the device on the thread that binds it, on a kernel which knows of NUMA,
/// too: that has one of the device's node do it.
pub fn probe_here(device: &str) -> Outcome {
    let node = format!("/sys/bus/pci/devices/{device}/numa_node");
    if fs::exists(&node)? { write(&node, "-1") } else { Ok(()) }
}

/// Has the kernel reset the device.
pub fn reset() -> Outcome {
    write(&format!("{DRIVER}/{}/reset", device()?), "1")
}

/// Takes the device off the bus behind the driver's back.
pub fn forbid_bus_mastering() -> Outcome {
    let path = PathBuf::from(DRIVER).join(device()?).join("config");
    let config = File::options().read(true).write(true).open(path)?;
    let mut command = [0];
    config.read_exact_at(&mut command, COMMAND)?;
    config.write_all_at(&[command[0] & !BUS_MASTER], COMMAND)?;
    Ok(())
}

/// What a parameter of the module is.
pub fn parameter(name: &str) -> Result<String, Failure> {
    read(&format!("{PARAMETERS}/{name}"))
}

/// A parameter of the module that has another value until what is given is dropped.
pub fn set_parameter(name: &str, value: u32) -> Result<Setting, Failure> {
    Setting::set(format!("{PARAMETERS}/{name}"), &value.to_string())
}
