// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file of `--stats-json`: opened and tried before the run, so that what
//! is wrong with it is known then, and written after it.

use crate::exit::Failure;
use crate::output;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::libc::{ENOSPC, ENXIO};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Room that is made sure of before the run: more than a report without marks takes.
const RESERVED: i64 = 64 << 10;

pub struct StatsFile {
    path: PathBuf,
    file: File,
}

impl StatsFile {
    /// Opens the file at `path`, and makes it if it is not there.
    pub fn open(path: &Path) -> Result<StatsFile, Failure> {
        let mut options = OpenOptions::new();
        // A FIFO that nobody reads would hold us up here for ever.
        options.write(true).create(true).truncate(false).custom_flags(OFlag::O_NONBLOCK.bits());
        let opened = options.open(path).and_then(|file| {
            match fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, RESERVED) {
                // Not all file systems can tell.
                Err(errno) if errno as i32 == ENOSPC => Err(errno.into()),
                _ => Ok(file),
            }
        });
        match opened {
            Ok(file) => Ok(StatsFile { path: path.to_owned(), file }),
            Err(error) if error.raw_os_error() == Some(ENXIO) => {
                Err(Failure::usage(format!("nobody reads what is written to {}", path.display())))
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                Err(Failure::host_lacks(unwritable(path, &error)))
            }
            Err(error) => Err(Failure::usage(unwritable(path, &error))),
        }
    }

    /// Replaces what is in the file.
    pub fn write(self, text: &str) -> Result<(), Failure> {
        let regular = self.file.metadata().is_ok_and(|status| status.is_file());
        let length = |length| if regular { self.file.set_len(length) } else { Ok(()) };
        // The second time gives back what was reserved.
        length(0)
            .and_then(|()| output::write_all(&self.file, text.as_bytes()))
            .and_then(|()| length(text.len() as u64))
            .map_err(|error| Failure::host_lacks(unwritable(&self.path, &error)))
    }
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
