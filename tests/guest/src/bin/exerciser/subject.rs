// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file under test, as system calls change it.

use crate::operation::Abilities;
use farfault_guest_programs::Failure;
use farfault_guest_programs::memory::{PAGE, file_in};
use farfault_guest_programs::reflink::reflink_range;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// read(2); all of `range` must be there.
pub fn read(file: &File, range: Range<usize>) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; range.len()];
    file.read_exact_at(&mut bytes, range.start as u64)?;
    Ok(bytes)
}

/// fallocate(2).
pub fn allocate(file: &File, mode: FallocateFlags, range: &Range<usize>) -> nix::Result<()> {
    fallocate(file, mode, range.start as i64, range.len() as i64)
}

/// Reflinks `range` to `to` in `target`, which may be this very file.
pub fn reflink(file: &File, range: &Range<usize>, target: &File, to: usize) -> nix::Result<()> {
    reflink_range(file, range.start as u64..range.end as u64, target, to as u64)
}

/// Has the file system write all down, and then forget it.
pub fn forget(file: &File) -> Result<(), Failure> {
    file.sync_all()?;
    Ok(posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

/// What of all this the file system does; tried out, for none of them says so.
pub fn abilities(folder: &Path) -> Result<Abilities, Failure> {
    let (trial, other) = (file_in(folder, 0)?, file_in(folder, 0)?);
    trial.write_all_at(&[1; 4 * PAGE], 0)?;
    let can = |what: &str, result: nix::Result<()>| match result {
        Ok(()) => Ok(true),
        Err(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EINVAL) => Ok(false),
        Err(error) => Err(Failure::from(format!("{what}: {error}"))),
    };
    let page = PAGE..2 * PAGE;
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let mode = |mode| allocate(&trial, mode, &page);
    Ok(Abilities {
        allocate: can("fallocate", mode(FallocateFlags::empty()))?,
        punch: can("hole punch", mode(punch))?,
        zero: can("zeroing", mode(FallocateFlags::FALLOC_FL_ZERO_RANGE))?,
        collapse: can("collapse", mode(FallocateFlags::FALLOC_FL_COLLAPSE_RANGE))?,
        insert: can("insertion", mode(FallocateFlags::FALLOC_FL_INSERT_RANGE))?,
        reflink: can("reflink", reflink(&trial, &page, &other, 0))?,
    })
}
