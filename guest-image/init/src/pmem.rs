// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent memory, if the machine has some: the command finds /dev/pmem0 and its like.
//! Nobody reads it before that comes: a state that is kept then may go on with other files.

use crate::failure::{self, Doing, Failure};
use crate::uevents::Uevents;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What the kernel makes of firmware's word that there is some, and its name.
const PLATFORM_DEVICE: &str = "/sys/bus/platform/devices/e820_pmem";
const NAME: &str = "e820_pmem";
/// The only driver that the device may have.
const ONLY_DRIVER: &str = "/sys/bus/platform/devices/e820_pmem/driver_override";
/// There if it has a driver.
const UNBIND: &str = "/sys/bus/platform/devices/e820_pmem/driver/unbind";
const PROBE: &str = "/sys/bus/platform/drivers_probe";
/// How each piece is named in the map of memory.
const RESOURCE: &str = ": Persistent Memory (legacy)";
const MAP: &str = "/proc/iomem";
const APPEAR: Duration = Duration::from_secs(20);

/// Whether there is some.
pub fn exists() -> bool {
    Path::new(PLATFORM_DEVICE).exists()
}

/// Keeps drivers from it, also one that has it already: some kernels have that built in.
pub fn withhold() -> Result<(), Failure> {
    write(ONLY_DRIVER, "none")?;
    if Path::new(UNBIND).exists() {
        write(UNBIND, NAME)?;
    }
    Ok(())
}

/// Gives it to its driver, and waits until each piece has its device node.
pub fn load() -> Result<(), Failure> {
    let nodes = nodes(&String::from_utf8_lossy(&failure::read(MAP)?));
    let uevents = Uevents::subscribe()?;
    write(ONLY_DRIVER, "\n")?;
    modprobe(&["nd_pmem", "nd_e820"])?;
    // A driver that was there already does not look again by itself.
    write(PROBE, NAME)?;
    let deadline = Instant::now() + APPEAR;
    loop {
        let missing = nodes.iter().find(|node| !node.exists());
        match missing {
            None => return Ok(()),
            Some(node) if Instant::now() >= deadline => {
                return Err(Failure::NoPmem { node: node.clone(), seconds: APPEAR.as_secs() });
            }
            Some(_) => uevents.wait(deadline),
        }
    }
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(Failure::file("write", path))
}

fn modprobe(modules: &[&str]) -> Result<(), Failure> {
    let action = "load the modules of persistent memory";
    let output = Command::new("/bin/modprobe").arg("-a").args(modules).output().doing(action)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::System { action, error: io::Error::other(said) })
}

/// The device nodes that a map of memory promises.
fn nodes(map: &str) -> Vec<PathBuf> {
    let pieces = map.lines().filter(|line| line.trim_end().ends_with(RESOURCE)).count();
    (0..pieces).map(|index| PathBuf::from(format!("/dev/pmem{index}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_has_a_node() {
        let map = "00100000-3fffffff : System RAM\n  01000000-01ffffff : Kernel code\n\
                   100000000-103ffffff : Persistent Memory (legacy)\n\
                   140000000-143ffffff : Persistent Memory (legacy)\n";
        assert_eq!(nodes(map), [PathBuf::from("/dev/pmem0"), PathBuf::from("/dev/pmem1")]);
        assert!(nodes("").is_empty());
    }
}
