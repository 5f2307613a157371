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

/// A file without a name, so that nothing is left of it.
pub struct Subject {
    /// Its only descriptor.
    pub file: File,
}

impl Subject {
    /// An empty file in `folder`.
    pub fn new(folder: &Path) -> Result<Subject, Failure> {
        Ok(Subject { file: file_in(folder, 0)? })
    }

    /// read(2); all of `range` must be there.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; range.len()];
        self.file.read_exact_at(&mut bytes, range.start as u64)?;
        Ok(bytes)
    }

    /// fallocate(2).
    pub fn allocate(&self, mode: FallocateFlags, range: &Range<usize>) -> nix::Result<()> {
        fallocate(&self.file, mode, range.start as i64, range.len() as i64)
    }

    /// Reflinks `range` to `to` in `target`, which may be this very file.
    pub fn reflink(&self, range: &Range<usize>, target: &Subject, to: usize) -> nix::Result<()> {
        let bytes = range.start as u64..range.end as u64;
        reflink_range(&self.file, bytes, &target.file, to as u64)
    }

    /// Has the file system write all down, and then forget it.
    pub fn forget(&self) -> Result<(), Failure> {
        self.file.sync_all()?;
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        Ok(())
    }

    /// What of all this the file system does; tried out, for none of them says so.
    pub fn abilities(folder: &Path) -> Result<Abilities, Failure> {
        let (trial, other) = (Subject::new(folder)?, Subject::new(folder)?);
        trial.file.write_all_at(&[1; 4 * PAGE], 0)?;
        let can = |what: &str, result: nix::Result<()>| match result {
            Ok(()) => Ok(true),
            Err(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EINVAL) => Ok(false),
            Err(error) => Err(Failure::from(format!("{what}: {error}"))),
        };
        let page = PAGE..2 * PAGE;
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let mode = |mode| trial.allocate(mode, &page);
        Ok(Abilities {
            allocate: can("fallocate", mode(FallocateFlags::empty()))?,
            punch: can("hole punch", mode(punch))?,
            zero: can("zeroing", mode(FallocateFlags::FALLOC_FL_ZERO_RANGE))?,
            collapse: can("collapse", mode(FallocateFlags::FALLOC_FL_COLLAPSE_RANGE))?,
            insert: can("insertion", mode(FallocateFlags::FALLOC_FL_INSERT_RANGE))?,
            reflink: can("reflink", trial.reflink(&page, &other, 0))?,
        })
    }
}
