// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `kernel-bugs [TEST…]`: whether the guest's kernel has the defects that
//! guest-driver/kernel-bugs.md describes. A test is skipped, with what was found, on a kernel
//! that has its defect. Wants a page of 1 GiB, two disks of persistent memory, and test_hmm.
//! Prints KTAP.
#![allow(unsafe_code, reason = "a system call that libraries do not know")]

use farfault_guest_programs::children::Child;
use farfault_guest_programs::dmirror::Node;
use farfault_guest_programs::file_mapping::FileMapping;
use farfault_guest_programs::ktap::{Outcome, Skip};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing, file_in, memory_file};
use farfault_guest_programs::setup::{FileSystem, persistent_memory, run};
use farfault_guest_programs::{Failure, test_program};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fmt::Display;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

test_program![
    a_child_has_each_page_of_1_gib,
    ext4_with_dax_maps_what_was_written,
    xfs_with_dax_copies_shared_blocks_quietly,
    xfs_with_dax_zeroes_what_it_has_shared,
    xfs_with_dax_collapses_what_it_has_shared,
    hmm_hands_out_no_secret_memory,
];

/// Of these disks of persistent memory each is made anew for a test.
const EXT4_DISK: &str = "/dev/pmem0";
const XFS_DISK: &str = "/dev/pmem1";
const FOLDER: &str = "/kernel-bugs";

/// What test_hmm says of a page that a device cannot have (`HMM_DMIRROR_PROT_NONE` and `_ERROR`).
const NONE: u8 = 0;
const ERROR: u8 = 0xff;

const GIGANTIC: usize = 1 << 30;
const FORKS: usize = 50;

/// What the kernel should not do was found.
fn defect(what: impl Display) -> Outcome {
    Err(Skip(format!("bug of the kernel: {what}")).into())
}

fn a_child_has_each_page_of_1_gib() -> Outcome {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_1GB;
    let file = File::from(memfd_create(c"gigantic", flags)?);
    file.set_len(GIGANTIC as u64)?;
    let mut lost = 0;
    for _ in 0..FORKS {
        let mut region = Region::of_file(&file, GIGANTIC, Sharing::Private, Access::Write)?;
        region[0] = b'A';
        soil_frames()?;
        let child = Child::start(|| match region[0] {
            b'A' => Ok(()),
            _ => Err("without the page".into()),
        })?;
        lost += usize::from(child.wait()? != 0);
    }
    if lost == 0 { Ok(()) } else { defect(format!("lost in {lost} of {FORKS} forks")) }
}

/// Frames that page tables will be made of have been a file's.
fn soil_frames() -> Outcome {
    const LENGTH: usize = 64 << 20;
    let file = memory_file(LENGTH as u64)?;
    Ok(file.write_all_at(&vec![0; LENGTH], 0)?)
}

fn ext4_with_dax_maps_what_was_written() -> Outcome {
    persistent_memory()?;
    FileSystem::EXT4_DAX.make(EXT4_DISK)?;
    FileSystem::EXT4_DAX.mount(EXT4_DISK, FOLDER)?;
    let file = file_in(Path::new(FOLDER), 0)?;
    fallocate(&file, FallocateFlags::empty(), 0, 2 * PAGE as i64)?;
    let mapping = FileMapping::new(&file, 2 * PAGE)?;
    let mut byte = [0];
    // Now the zero page is mapped for the second block.
    mapping.read(PAGE, &mut byte)?;
    for block in [0, PAGE] {
        file.write_all_at(&[b'A'; PAGE], block as u64)?;
    }
    mapping.read(PAGE, &mut byte)?;
    drop((mapping, file));
    run(&format!("umount {FOLDER}"))?;
    if byte == *b"A" { Ok(()) } else { defect(format!("the mapping holds {}, not 65", byte[0])) }
}

fn xfs_with_dax_copies_shared_blocks_quietly() -> Outcome {
    const WARNING: &str = "dax_disassociate_entry";
    exercise("mkfs.xfs -q -f", "--keep-mapped --operations 1000")?;
    let log = Command::new("dmesg").output()?.stdout;
    let warns = String::from_utf8_lossy(&log).contains(WARNING);
    if warns { defect(format!("{WARNING}() warns")) } else { Ok(()) }
}

fn xfs_with_dax_zeroes_what_it_has_shared() -> Outcome {
    large_extents("--seed 3 --operations 1600", "operation 1547")
}

fn xfs_with_dax_collapses_what_it_has_shared() -> Outcome {
    large_extents("--seed 1 --operations 900", "operation 867")
}

/// Whether the operation goes wrong that is known to.
fn large_extents(options: &str, known: &str) -> Outcome {
    let make = "mkfs.xfs -q -f -d agcount=2,su=2m,sw=1,extszinherit=512";
    match exercise(make, &format!("--file-size 8388608 {options}")) {
        Err(why) if why.to_string().contains(known) => defect(why),
        other => other,
    }
}

/// Has the exerciser work, without a device, on an xfs that `make` makes.
fn exercise(make: &str, options: &str) -> Result<(), Failure> {
    persistent_memory()?;
    run(&format!("{make} {XFS_DISK}"))?;
    FileSystem::XFS_DAX.mount(XFS_DISK, FOLDER)?;
    let done =
        Command::new("exerciser").args([FOLDER, "--cpu-only"]).args(options.split(' ')).output()?;
    run(&format!("umount {FOLDER}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(said.lines().last().unwrap_or("failed").into()) }
}

/// A look at what HMM hands out: the kernel that reads it ends in an oops, as it has no mapping.
fn hmm_hands_out_no_secret_memory() -> Outcome {
    // SAFETY: makes a file descriptor.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) })?;
    // SAFETY: a new descriptor that nobody else has.
    let file = unsafe { File::from_raw_fd(i32::try_from(fd)?) };
    file.set_len(PAGE as u64)?;
    let mut secret = Region::of_file(&file, PAGE, Sharing::Shared, Access::Write)?;
    secret.fill(0x5a);
    match Node::open(0)?.snapshot(secret.address(), 1) {
        Ok(seen) if seen[..] != [NONE] && seen[..] != [ERROR] => {
            defect(format!("test_hmm can have it: {:#x}", seen[0]))
        }
        _ => Ok(()),
    }
}
