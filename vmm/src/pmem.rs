// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent memory: files of the host that a guest has as memory. All that a
//! user can get wrong about them is found before anything is started.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The least that file systems are made on.
const MIN: u64 = 16 << 20;
const MAX: u64 = 64 << 30;
/// The kernel gives memory of a device its page structures in such pieces.
const STEP: u64 = 2 << 20;

const PHYSICAL_MEMORY: &str = "/dev/mem";

/// One device.
#[derive(Clone, Debug, PartialEq)]
pub enum Pmem {
    /// The first so many bytes of a file.
    File { path: PathBuf, size: u64 },
    /// Physical memory, which a file is in the first guest of nested mode.
    Physical(Range<u64>),
}

#[derive(Debug, thiserror::Error)]
pub enum PmemError {
    #[error("{} is not there; to have it made, give its size: --pmem {},size=512M", .0.display(), .0.display())]
    Missing(PathBuf),
    #[error("{} is not a file, so it cannot be persistent memory", .0.display())]
    NotAFile(PathBuf),
    #[error("{} is read-only; a guest's persistent memory must be writable", .0.display())]
    ReadOnly(PathBuf),
    #[error("cannot open {} for persistent memory", .0.display())]
    Open(PathBuf, #[source] io::Error),
    #[error("there is no room for {} MiB of persistent memory in {}", bytes >> 20, path.display())]
    NoRoom {
        path: PathBuf,
        bytes: u64,
        #[source]
        source: io::Error,
    },
    #[error(
        "persistent memory has {} MiB to {} GiB in steps of {} MiB; {} would have {bytes} bytes",
        MIN >> 20, MAX >> 30, STEP >> 20, path.display()
    )]
    Size { path: PathBuf, bytes: u64 },
    #[error("{} is the persistent memory of another guest that runs", .0.display())]
    InUse(PathBuf),
    #[error("cannot map {} as memory", .0.display())]
    Map(PathBuf, #[source] io::Error),
}

impl Pmem {
    /// A file, which is made or extended when a guest starts if `size` says so.
    /// Nothing is changed yet.
    pub fn of_file(path: &Path, size: Option<u64>) -> Result<Pmem, PmemError> {
        let bytes = match (path.metadata(), size) {
            (Ok(status), size) => size.unwrap_or(usable(path, &status)?),
            (Err(error), Some(size)) if error.kind() == io::ErrorKind::NotFound => {
                has_place(path)?;
                size
            }
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PmemError::Missing(path.to_owned()));
            }
            (Err(error), _) => return Err(PmemError::Open(path.to_owned(), error)),
        };
        if !(MIN..=MAX).contains(&bytes) || !bytes.is_multiple_of(STEP) {
            return Err(PmemError::Size { path: path.to_owned(), bytes });
        }
        Ok(Pmem::File { path: path.to_owned(), size: bytes })
    }

    /// Bytes of memory.
    pub fn size(&self) -> u64 {
        match self {
            Pmem::File { size, .. } => *size,
            Pmem::Physical(range) => range.end - range.start,
        }
    }

    /// The file to map.
    pub fn path(&self) -> &Path {
        match self {
            Pmem::File { path, .. } => path,
            Pmem::Physical(_) => Path::new(PHYSICAL_MEMORY),
        }
    }

    /// Where in the file it begins.
    pub fn offset(&self) -> u64 {
        match self {
            Pmem::File { .. } => 0,
            Pmem::Physical(range) => range.start,
        }
    }

    /// Opens the file, and makes and extends it. As long as it stays open no
    /// other guest gets it. What is in it stays.
    pub fn open(&self) -> Result<File, PmemError> {
        match self {
            Pmem::File { path, size } => open(path, *size),
            Pmem::Physical(_) => writable(self.path()),
        }
    }
}

/// The length of a file that a guest may have.
fn usable(path: &Path, status: &Metadata) -> Result<u64, PmemError> {
    if !status.is_file() {
        return Err(PmemError::NotAFile(path.to_owned()));
    }
    if status.permissions().readonly() {
        return Err(PmemError::ReadOnly(path.to_owned()));
    }
    writable(path)?;
    Ok(status.len())
}

fn writable(path: &Path) -> Result<File, PmemError> {
    let opened = File::options().read(true).write(true).open(path);
    opened.map_err(|error| PmemError::Open(path.to_owned(), error))
}

/// Whether a file could be made there.
fn has_place(path: &Path) -> Result<(), PmemError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let listed = folder.read_dir().map(drop);
    listed.map_err(|error| PmemError::Open(path.to_owned(), error))
}

fn open(path: &Path, size: u64) -> Result<File, PmemError> {
    let refused = |error| PmemError::Open(path.to_owned(), error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).map_err(refused)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => PmemError::InUse(path.to_owned()),
        TryLockError::Error(error) => refused(error),
    })?;
    let no_room = |source| PmemError::NoRoom { path: path.to_owned(), bytes: size, source };
    if file.metadata().map_err(refused)?.len() < size {
        file.set_len(size).map_err(no_room)?;
    }
    // A full disk would be a SIGBUS at some store of the guest.
    match fallocate(&file, FallocateFlags::empty(), 0, size.cast_signed()) {
        // Some file systems reserve nothing.
        Err(errno) if errno != Errno::EOPNOTSUPP => Err(no_room(errno.into())),
        _ => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::chain;
    use std::fs;
    use tempfile::{TempDir, tempdir};

    const MIB: u64 = 1 << 20;

    fn file(scratch: &TempDir, name: &str, size: u64) -> PathBuf {
        let path = scratch.path().join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    #[test]
    fn a_file_is_made_only_when_a_guest_starts() {
        let scratch = tempdir().unwrap();
        let path = scratch.path().join("new");
        let pmem = Pmem::of_file(&path, Some(32 * MIB)).unwrap();
        assert!(!path.exists());
        assert_eq!(pmem.size(), 32 * MIB);
        pmem.open().unwrap();
        assert_eq!(path.metadata().unwrap().len(), 32 * MIB);
        assert_eq!(Pmem::of_file(&path, None).unwrap(), pmem);
    }

    #[test]
    fn a_file_keeps_what_it_holds() {
        let scratch = tempdir().unwrap();
        let path = file(&scratch, "old", 0);
        let content = vec![7; 20 << 20];
        fs::write(&path, &content).unwrap();
        Pmem::of_file(&path, Some(24 * MIB)).unwrap().open().unwrap();
        let extended = fs::read(&path).unwrap();
        assert_eq!((extended.len(), &extended[..content.len()]), (24 << 20, &content[..]));
        let less = Pmem::of_file(&path, Some(16 * MIB)).unwrap();
        less.open().unwrap();
        assert_eq!((less.size(), path.metadata().unwrap().len()), (16 * MIB, 24 * MIB));
    }

    #[test]
    fn what_cannot_be_memory_is_refused_in_one_line() {
        let scratch = tempdir().unwrap();
        let small = file(&scratch, "small", 4 * MIB);
        let odd = file(&scratch, "odd", 17 * MIB);
        let fixed = file(&scratch, "fixed", 32 * MIB);
        let mut permissions = fixed.metadata().unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&fixed, permissions).unwrap();
        let nowhere = scratch.path().join("no/such/folder/file");
        let cases = [
            (scratch.path().join("missing"), None, "give its size: --pmem "),
            (nowhere, Some(32 * MIB), "cannot open "),
            (scratch.path().to_owned(), None, "is not a file"),
            (scratch.path().to_owned(), Some(32 * MIB), "is not a file"),
            (PathBuf::from("/dev/null"), None, "is not a file"),
            (small.clone(), None, "16 MiB to 64 GiB in steps of 2 MiB"),
            (small, Some(15 * MIB), "would have 15728640 bytes"),
            (odd, None, "would have 17825792 bytes"),
            (scratch.path().join("missing"), Some(65 << 30), "16 MiB to 64 GiB"),
            (fixed, None, "is read-only"),
        ];
        for (path, size, words) in cases {
            let line = chain(&Pmem::of_file(&path, size).expect_err(words));
            assert!(line.contains(words), "{line}");
        }
    }

    #[test]
    fn no_two_guests_have_the_same_file() {
        let scratch = tempdir().unwrap();
        let pmem = Pmem::of_file(&file(&scratch, "one", 16 * MIB), None).unwrap();
        let held = pmem.open().unwrap();
        assert!(matches!(pmem.open(), Err(PmemError::InUse(_))));
        drop(held);
        assert!(pmem.open().is_ok());
    }

    #[test]
    fn a_range_of_physical_memory_is_part_of_a_file() {
        let pmem = Pmem::Physical(8 << 30..(8 << 30) + 18 * MIB);
        assert_eq!((pmem.size(), pmem.offset()), (18 * MIB, 8 << 30));
        assert_eq!(pmem.path(), "/dev/mem");
    }
}
