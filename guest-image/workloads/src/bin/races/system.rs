// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest must offer for some changes, and what it has counted.

use farfault_workloads::Failure;
use std::fs;
use std::process::Command;

/// Counters of /proc/vmstat, and what they were at first.
pub struct Vmstat {
    first: Vec<(&'static str, u64)>,
}

impl Vmstat {
    pub fn of(names: &[&'static str]) -> Result<Self, Failure> {
        let first: Result<_, Failure> = names.iter().map(|&name| Ok((name, read(name)?))).collect();
        Ok(Self { first: first? })
    }

    /// Prints by how much each of them has grown; all must have.
    pub fn have_moved(&self) -> Result<(), Failure> {
        for &(name, first) in &self.first {
            let grown = read(name)?.saturating_sub(first);
            println!("# {name} of /proc/vmstat: {grown} more");
            if grown == 0 {
                return Err(
                    format!("{name} of /proc/vmstat has not moved: nothing was done").into()
                );
            }
        }
        Ok(())
    }
}

fn read(name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.ok_or_else(|| format!("/proc/vmstat has no {name}"))?;
    Ok(value.trim().parse()?)
}

/// Swap in compressed memory, unless there is swap already.
pub fn swap_on() -> Result<(), Failure> {
    if fs::read_to_string("/proc/swaps")?.lines().count() > 1 {
        return Ok(());
    }
    shell(
        "modprobe zram && echo 256M >/sys/block/zram0/disksize && mkswap /dev/zram0 && swapon /dev/zram0",
    )
}

/// A folder on ext4, made anew if need be.
pub fn ext4() -> Result<&'static str, Failure> {
    const FOLDER: &str = "/run/races-ext4";
    let mounted = fs::read_to_string("/proc/mounts")?.lines().any(|line| line.contains(FOLDER));
    if !mounted {
        shell(
            "modprobe brd rd_nr=1 rd_size=65536 && mkfs.ext4 -q /dev/ram0 \
             && mkdir -p /run/races-ext4 && mount -t ext4 /dev/ram0 /run/races-ext4",
        )?;
    }
    Ok(FOLDER)
}

fn shell(script: &str) -> Result<(), Failure> {
    let output = Command::new("sh").args(["-c", script]).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}
