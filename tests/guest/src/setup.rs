// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a guest is given for tests: disks in memory, file systems, swap.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A kind of file system.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    name: &'static str,
    /// How it is made on a DISK, if it has to be.
    make: &'static str,
    /// What mount is told.
    options: &'static str,
}

const EXT4: &str = "mkfs.ext4 -q -F -b 4096 -E stride=512,stripe_width=512 DISK";

impl FileSystem {
    /// Files begin at multiples of 2 MiB, and blocks are as large as pages.
    pub const EXT4: Self = Self { name: "ext4", make: EXT4, options: "-t ext4" };
    /// The same, but its journal cleans no page by itself: as a rule it is written every 5 s, and
    /// before it the pages of files that have got blocks since.
    pub const EXT4_QUIET: Self = Self { options: "-t ext4 -o commit=3600", ..Self::EXT4 };
    /// Blocks are smaller than pages.
    pub const EXT4_SMALL: Self =
        Self { name: "ext4-small", make: "mkfs.ext4 -q -F DISK 64M", options: "-t ext4" };
    /// For persistent memory, which mappings reach directly.
    pub const EXT4_DAX: Self =
        Self { name: "ext4-dax", make: EXT4, options: "-t ext4 -o dax=always" };
    /// Files can share blocks.
    pub const XFS: Self = Self { name: "xfs", make: "mkfs.xfs -q -f DISK", options: "-t xfs" };
    /// The same for persistent memory; files begin at multiples of 2 MiB. The log has no room
    /// in smaller groups.
    pub const XFS_DAX: Self = Self {
        name: "xfs-dax",
        make: "mkfs.xfs -q -f -d agcount=2,su=2m,sw=1,extszinherit=512 DISK",
        options: "-t xfs -o dax=always",
    };
    const TMPFS: Self = Self { name: "tmpfs", make: "", options: "-t tmpfs" };

    const ALL: [Self; 6] =
        [Self::EXT4, Self::EXT4_SMALL, Self::EXT4_DAX, Self::XFS, Self::XFS_DAX, Self::TMPFS];

    /// That of this name.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.name == name);
        let known = || Self::ALL.map(|one| one.name).join(", ");
        found.ok_or_else(|| format!("no file system '{name}': say {}", known()))
    }

    /// Makes an empty one on `disk`.
    pub fn make(self, disk: &str) -> Result<(), String> {
        if self.make.is_empty() { Ok(()) } else { run(&self.make.replace("DISK", disk)) }
    }

    /// Mounts it at `folder`, which is made if need be.
    pub fn mount(self, disk: &str, folder: &str) -> Result<(), String> {
        fs::create_dir_all(folder).map_err(|error| format!("{folder}: {error}"))?;
        run(&format!("mount {} {disk} {folder}", self.options))
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

/// Runs a command, words with blanks between, and gives the first line of what it says if it
/// fails: after it some programs say how they are used.
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
