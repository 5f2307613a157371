// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest must have before memory of every kind can be made: huge
//! pages, swap, file systems. Set up once, before the first cell.

use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::{number, write};
use farfault_guest_programs::ktap::{Outcome, Skip};
use farfault_guest_programs::setup::{self, FileSystem, ZRAM, swap_only_to};
use std::path::{Path, PathBuf};

/// A place to be had, or why there is none.
type Place = Result<PathBuf, String>;

pub struct Environment {
    /// A directory of an ext4 file system.
    pub ext4: Place,
    /// One of an xfs file system whose files can share blocks.
    pub xfs: Place,
    /// The same on persistent memory, which mappings reach directly.
    pub dax_ext4: Place,
    pub dax_xfs: Place,
    /// Why nothing can be swapped out, if so.
    pub swap: Result<(), String>,
    /// Why nothing can be swapped to a disk, for as long as a cell asks for it, if so.
    pub swap_disk: Result<(), String>,
}

impl Environment {
    pub fn prepare() -> Result<Self, Failure> {
        let huge = "/sys/kernel/mm/transparent_hugepage";
        write(&format!("{huge}/enabled"), "madvise")?;
        write(&format!("{huge}/hugepages-64kB/enabled"), "madvise")?;
        write(&format!("{huge}/shmem_enabled"), "advise")?;
        write("/proc/sys/vm/nr_hugepages", "64")?;
        // The kernel need not log every time that drain() has it drop caches.
        write("/proc/sys/vm/drop_caches", "4")?;
        // No page is to be cleaned or merged but by a cell.
        write("/proc/sys/vm/dirty_writeback_centisecs", "0")?;
        write(&format!("{huge}/khugepaged/scan_sleep_millisecs"), "3600000")?;
        write(&format!("{huge}/khugepaged/pages_to_scan"), "1")?;
        write("/sys/kernel/mm/ksm/run", "0")?;
        let disks = setup::ram_disks();
        let persistent = setup::persistent_memory();
        let on = |there: &Result<(), String>, kind: FileSystem, disk: &str| {
            let folder = format!("/run/matrix-{}", disk.trim_start_matches("/dev/"));
            there.clone()?;
            kind.provide(disk, &folder)?;
            Ok(PathBuf::from(folder))
        };
        let [first, second] = setup::RAM_DISKS;
        let ext4 = on(&disks, FileSystem::EXT4, first);
        let swap_disk = ext4.clone().and_then(|folder| swap_disk(&folder));
        Ok(Self {
            ext4,
            xfs: on(&disks, FileSystem::XFS, second),
            dax_ext4: on(&persistent, FileSystem::EXT4_DAX, "/dev/pmem0"),
            dax_xfs: on(&persistent, FileSystem::XFS_DAX, "/dev/pmem1"),
            swap: setup::swap().and_then(|()| swap_only_to(ZRAM)),
            swap_disk,
        })
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
        needed(&self.swap_disk)?;
        swap_only_to(LOOP)?;
        let result = body();
        let mended = self.mend();
        result.and(mended)
    }
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
