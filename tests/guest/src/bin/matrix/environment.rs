// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest must have before memory of every kind can be made: huge pages and swap,
//! set up before the first cell, and file systems.

use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::{number, write};
use farfault_guest_programs::ktap::{Outcome, Skip};
use farfault_guest_programs::setup::{self, FileSystem, ZRAM, swap_only_to};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};

/// A place to be had, or why there is none.
type Place = Result<PathBuf, String>;

/// Disks and file systems are made when the first cell asks for them: xfs alone takes the
/// kernel many seconds to load where KVM is nested. Each cell has a process of its own; what
/// an earlier one has made, it finds.
pub struct Environment {
    ext4: OnceCell<Place>,
    xfs: OnceCell<Place>,
    dax_ext4: OnceCell<Place>,
    dax_xfs: OnceCell<Place>,
    /// Why nothing can be swapped out, if so.
    pub swap: Result<(), String>,
}

impl Environment {
    pub fn prepare() -> Result<Self, Failure> {
        let huge = "/sys/kernel/mm/transparent_hugepage";
        set(&format!("{huge}/enabled"), "madvise")?;
        set(&format!("{huge}/hugepages-64kB/enabled"), "madvise")?;
        set(&format!("{huge}/shmem_enabled"), "advise")?;
        set("/proc/sys/vm/nr_hugepages", "64")?;
        // The kernel need not log every time that drain() has it drop caches.
        set("/proc/sys/vm/drop_caches", "4")?;
        // No page is to be cleaned or merged but by a cell.
        set("/proc/sys/vm/dirty_writeback_centisecs", "0")?;
        set(&format!("{huge}/khugepaged/scan_sleep_millisecs"), "3600000")?;
        set(&format!("{huge}/khugepaged/pages_to_scan"), "1")?;
        set("/sys/kernel/mm/ksm/run", "0")?;
        let not_yet = || OnceCell::new();
        let (ext4, xfs, dax_ext4, dax_xfs) = (not_yet(), not_yet(), not_yet(), not_yet());
        let swap = setup::swap().and_then(|()| swap_only_to(ZRAM));
        Ok(Self { ext4, xfs, dax_ext4, dax_xfs, swap })
    }

    /// A directory of an ext4 file system.
    pub fn ext4(&self) -> Result<&PathBuf, Failure> {
        let [disk, _] = setup::RAM_DISKS;
        needed(self.ext4.get_or_init(|| on(setup::ram_disks, FileSystem::EXT4_QUIET, disk)))
    }

    /// One of an xfs file system whose files can share blocks.
    pub fn xfs(&self) -> Result<&PathBuf, Failure> {
        let [_, disk] = setup::RAM_DISKS;
        needed(self.xfs.get_or_init(|| on(setup::ram_disks, FileSystem::XFS, disk)))
    }

    /// The same on persistent memory, which mappings reach directly.
    pub fn dax_ext4(&self) -> Result<&PathBuf, Failure> {
        let make = || on(setup::persistent_memory, FileSystem::EXT4_DAX, "/dev/pmem0");
        needed(self.dax_ext4.get_or_init(make))
    }

    pub fn dax_xfs(&self) -> Result<&PathBuf, Failure> {
        let make = || on(setup::persistent_memory, FileSystem::XFS_DAX, "/dev/pmem1");
        needed(self.dax_xfs.get_or_init(make))
    }

    /// Those that this cell has asked for.
    pub fn in_use(&self) -> impl Iterator<Item = &PathBuf> {
        let all = [&self.ext4, &self.xfs, &self.dax_ext4, &self.dax_xfs];
        all.into_iter().filter_map(|place| place.get()?.as_ref().ok())
    }

    /// Has pages swapped as they were at first: a cell that was killed may have left
    /// that in another state.
    pub fn mend(&self) -> Result<(), Failure> {
        if self.swap.is_ok() { Ok(swap_only_to(ZRAM)?) } else { Ok(()) }
    }

    /// Has `body` done while all that is swapped goes to a disk, whose type in swap
    /// entries is then [`ONLY_SWAP`].
    pub fn swapping_to_disk(&self, body: impl FnOnce() -> Outcome) -> Outcome {
        needed(&self.swap)?;
        needed(&swap_disk(self.ext4()?))?;
        swap_only_to(LOOP)?;
        let result = body();
        let mended = self.mend();
        result.and(mended)
    }
}

/// What the kernel lacks need not be set: a cell that wants it finds out.
fn set(path: &str, text: &str) -> Outcome {
    if Path::new(path).exists() { write(path, text) } else { Ok(()) }
}

/// The type, in a swap entry, of the only device that there is: the kernel gives a new
/// one the lowest that is free (`alloc_swap_info()`).
pub const ONLY_SWAP: u64 = 0;

/// Pages of 1 GiB that a cell needs at once: its own, and a copy of it or a child's.
const GIGANTIC_PAGES: u64 = 2;

/// Has the kernel keep so many pages of 1 GiB free. Not for every run: they are most of
/// a large guest's memory, and more than a small one has.
pub fn allow_gigantic_pages() -> Result<(), Failure> {
    let free = "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages";
    let all = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages";
    if !Path::new(all).exists() {
        return Err(Skip("the CPU has no pages of 1 GiB".to_owned()).into());
    }
    let missing = GIGANTIC_PAGES.saturating_sub(number(free)?);
    if missing > 0 {
        write(all, &(number(all)? + missing).to_string())?;
    }
    match number(free)? {
        GIGANTIC_PAGES.. => Ok(()),
        have => {
            let lack = format!("{have} pages of 1 GiB can be had, not {GIGANTIC_PAGES}");
            Err(Skip(lack).into())
        }
    }
}

/// What `place` holds; a cell that needs it is skipped without.
pub fn needed<T>(place: &Result<T, String>) -> Result<&T, Failure> {
    place.as_ref().map_err(|why| -> Failure { Box::new(Skip(why.clone())) })
}

/// A directory of a new file system on one of `disks`, or of the one that is there.
fn on(disks: fn() -> Result<(), String>, kind: FileSystem, disk: &str) -> Place {
    if !Path::new(disk).exists() {
        disks()?;
    }
    let folder = format!("/run/matrix-{}", disk.trim_start_matches("/dev/"));
    kind.provide(disk, &folder)?;
    Ok(PathBuf::from(folder))
}

/// A disk to be swapped on.
const LOOP: &str = "/dev/loop0";

/// Zram is done when it is asked, and the kernel frees what it has read in from
/// there; a page from a disk stays on it, too, and is dropped as long as it is clean.
fn swap_disk(folder: &Path) -> Result<(), String> {
    let file = folder.join("swap");
    if !file.exists() {
        setup::run("modprobe loop")?;
        let name = file.to_string_lossy();
        setup::run(&format!("dd if=/dev/zero of={name} bs=1M count=16"))?;
        setup::run(&format!("losetup {LOOP} {name}"))?;
        setup::run(&format!("mkswap {LOOP}"))?;
    }
    Ok(())
}

/// Lets all pages that nobody maps be written out and dropped.
pub fn drop_caches() -> Result<(), Failure> {
    nix::unistd::sync();
    write("/proc/sys/vm/drop_caches", "3")
}
