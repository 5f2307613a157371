// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest must offer for some changes, and what it has counted.

use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::{self, Setting, number_of};
use farfault_guest_programs::ktap::expect;
use farfault_guest_programs::setup::{self, FileSystem};
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Counters of /proc/vmstat, and what they were at first.
#[derive(Default)]
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
            expect(&format!("{name} of /proc/vmstat has moved: it was done"), grown > 0)?;
        }
        Ok(())
    }
}

fn read(name: &str) -> Result<u64, Failure> {
    number_of(name, &kernel_files::read("/proc/vmstat")?)
}

/// Keeps a few huge pages for hugetlbfs.
pub fn keep_huge_pages() -> Result<(), Failure> {
    Ok(fs::write("/proc/sys/vm/nr_hugepages", "4")?)
}

/// Has the kernel take frames into use again that were taken out of it.
pub fn offer_unpoison() -> Result<(), Failure> {
    Ok(setup::run("modprobe hwpoison-inject")?)
}

/// How often a frame is asked for that somebody has in hand for a moment.
const TRIES: usize = 1000;
const PAUSE: Duration = Duration::from_millis(1);
/// After so many it may be that a CPU keeps it until it has some more to put on a list.
const DRAIN: usize = 100;

pub fn unpoison(frame: u64) -> Result<(), Failure> {
    for tried in 1..TRIES {
        match put_back(frame) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(PAUSE),
            result => return Ok(result?),
        }
        if tried.is_multiple_of(DRAIN) {
            kernel_files::drain()?;
        }
    }
    Ok(put_back(frame).map_err(|error| format!("unpoisoning frame {frame:#x}: {error}"))?)
}

fn put_back(frame: u64) -> io::Result<()> {
    fs::write("/sys/kernel/debug/hwpoison/unpoison-pfn", frame.to_string())
}

/// As long as it is there, what the kernel says is in its log only: a console is slow.
pub fn quiet() -> Result<Setting, Failure> {
    Setting::set("/proc/sys/kernel/printk".to_owned(), "1")
}

/// A folder on ext4 with small blocks, made anew if need be.
pub fn ext4() -> Result<&'static Path, Failure> {
    disk(FileSystem::EXT4_SMALL, setup::RAM_DISKS[0], "/run/races-ext4")
}

/// The same on xfs.
pub fn xfs() -> Result<&'static Path, Failure> {
    disk(FileSystem::XFS, setup::RAM_DISKS[1], "/run/races-xfs")
}

fn disk(kind: FileSystem, disk: &str, folder: &'static str) -> Result<&'static Path, Failure> {
    setup::ram_disks()?;
    kind.provide(disk, folder)?;
    Ok(Path::new(folder))
}
