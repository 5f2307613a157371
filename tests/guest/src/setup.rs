// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a guest is given for tests: disks in memory, file systems, swap.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A kind of file system, and how it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// Files begin at multiples of 2 MiB, and blocks are as large as pages.
    Ext4,
    /// Blocks are smaller than pages.
    Ext4Small,
    /// For persistent memory, which mappings reach directly.
    Ext4Dax,
    /// Files can share blocks.
    Xfs,
    /// The same for persistent memory; files begin at multiples of 2 MiB.
    XfsDax,
    /// In memory.
    Tmpfs,
}

impl FileSystem {
    const ALL: [(&str, Self); 6] = [
        ("ext4", Self::Ext4),
        ("ext4-small", Self::Ext4Small),
        ("ext4-dax", Self::Ext4Dax),
        ("xfs", Self::Xfs),
        ("xfs-dax", Self::XfsDax),
        ("tmpfs", Self::Tmpfs),
    ];

    /// That of this name.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        let known = || Self::ALL.map(|(name, _)| name).join(", ");
        found.map(|one| one.1).ok_or_else(|| format!("no file system '{name}': say {}", known()))
    }

    /// Makes an empty one on `disk`.
    pub fn make(self, disk: &str) -> Result<(), String> {
        let words = match self {
            Self::Ext4 | Self::Ext4Dax => {
                "mkfs.ext4 -q -F -b 4096 -E stride=512,stripe_width=512 DISK"
            }
            Self::Ext4Small => "mkfs.ext4 -q -F DISK 64M",
            Self::Xfs => "mkfs.xfs -q -f DISK",
            // The log has no room in smaller groups.
            Self::XfsDax => "mkfs.xfs -q -f -d agcount=2,su=2m,sw=1,extszinherit=512 DISK",
            Self::Tmpfs => return Ok(()),
        };
        run(&words.replace("DISK", disk))
    }

    /// Mounts it at `folder`, which is made if need be.
    pub fn mount(self, disk: &str, folder: &str) -> Result<(), String> {
        fs::create_dir_all(folder).map_err(|error| format!("{folder}: {error}"))?;
        let options = match self {
            Self::Ext4 | Self::Ext4Small => "-t ext4",
            Self::Ext4Dax => "-t ext4 -o dax=always",
            Self::Xfs => "-t xfs",
            Self::XfsDax => "-t xfs -o dax=always",
            Self::Tmpfs => "-t tmpfs",
        };
        run(&format!("mount {options} {disk} {folder}"))
    }

    /// Makes it and mounts it, unless there is one at `folder` already.
    pub fn provide(self, disk: &str, folder: &str) -> Result<(), String> {
        if !Path::new(disk).exists() {
            return Err(format!("there is no {disk}"));
        }
        if read("/proc/mounts")?.split_whitespace().any(|word| word == folder) {
            return Ok(());
        }
        self.make(disk)?;
        self.mount(disk, folder)
    }
}

/// Disks in memory, as large as xfs wants them at least.
pub const RAM_DISKS: [&str; 2] = ["/dev/ram0", "/dev/ram1"];

/// Has the kernel offer [`RAM_DISKS`].
pub fn ram_disks() -> Result<(), String> {
    run("modprobe brd rd_nr=2 rd_size=360448")
}

/// Has the kernel offer persistent memory, if the guest has any.
pub fn persistent_memory() -> Result<(), String> {
    run("modprobe nd_e820")?;
    run("modprobe nd_pmem")
}

/// What pages are swapped to: compressed memory.
pub const ZRAM: &str = "/dev/zram0";
/// So much of it.
const ZRAM_BYTES: &str = "268435456";

/// Swap in compressed memory.
pub fn swap() -> Result<(), String> {
    let size = "/sys/block/zram0/disksize";
    if !Path::new(ZRAM).exists() {
        run("modprobe zram")?;
    }
    if read(size)?.trim() == "0" {
        fs::write(size, ZRAM_BYTES).map_err(|error| format!("{size}: {error}"))?;
        run(&format!("mkswap {ZRAM}"))?;
    }
    if swaps()?.iter().any(|one| one == ZRAM) { Ok(()) } else { swap_on(ZRAM) }
}

/// Has pages swapped to `device`, too, which mkswap has prepared.
pub fn swap_on(device: &str) -> Result<(), String> {
    run(&format!("swapon {device}"))
}

/// Has all that is on `device` read in, and nothing swapped to it any more.
pub fn swap_off(device: &str) -> Result<(), String> {
    run(&format!("swapoff {device}"))
}

/// Makes `device` the only one that pages are swapped to. To prefer it would not do:
/// each CPU goes on with the device that it used last, whatever that one's priority
/// (`swap_alloc_fast()`), until it is swapped off.
pub fn swap_only_to(device: &str) -> Result<(), String> {
    let on = swaps()?;
    on.iter().filter(|one| *one != device).try_for_each(|other| swap_off(other))?;
    if on.iter().any(|one| one == device) { Ok(()) } else { swap_on(device) }
}

/// What pages are swapped to now.
fn swaps() -> Result<Vec<String>, String> {
    let text = read("/proc/swaps")?;
    let names = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// Runs a command, words with blanks between, and gives the first line of what it says if it fails:
/// after it some programs say how they are used.
pub fn run(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command}: {}", said.lines().next().unwrap_or("failed")))
}
