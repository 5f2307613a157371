// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a kept state is made of, and whether it still is.

use super::StateError;
use super::content;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Of the layout of a state's folder.
const VERSION: u32 = 1;
const NAME: &str = "manifest";

/// A line of JSON in the state's folder; the next line is its checksum.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub struct Manifest {
    version: u32,
    /// The machine, for people.
    pub about: String,
    pub ram: Piece,
    pub machine: Piece,
}

/// One file of a state.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub struct Piece {
    checksum: String,
    stamp: Stamp,
}

/// A file of which nothing of this has changed was not written to: it need not be read to
/// know that. After a crash of the host that does not hold, so its boot is part of it.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Stamp {
    boot: String,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Manifest {
    pub fn new(about: &str, ram: Piece, machine: Piece) -> Manifest {
        Manifest { version: VERSION, about: about.to_owned(), ram, machine }
    }

    pub fn read(folder: &Path) -> Result<Manifest, StateError> {
        let path = folder.join(NAME);
        let text =
            fs::read_to_string(&path).map_err(|error| StateError::file("read", &path, error))?;
        let (json, sum) = text.trim_end().split_once('\n').unwrap_or_default();
        if sum != blake3::hash(json.as_bytes()).to_hex().as_str() {
            return Err(StateError::Damaged(path));
        }
        let manifest: Manifest =
            serde_json::from_str(json).map_err(|_| StateError::Damaged(path.clone()))?;
        match manifest.version {
            VERSION => Ok(manifest),
            _ => Err(StateError::Version(path)),
        }
    }

    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_string(self)?;
        let sum = blake3::hash(json.as_bytes()).to_hex();
        // Whoever reads it meanwhile reads one or the other.
        let part = folder.join(format!("{NAME}.{}", std::process::id()));
        fs::write(&part, format!("{json}\n{sum}\n"))?;
        fs::rename(part, folder.join(NAME))
    }

    /// Notes that the state was used: the one that was not for longest goes first.
    pub fn touch(folder: &Path) -> io::Result<()> {
        File::options()
            .append(true)
            .open(folder.join(NAME))?
            .set_modified(std::time::SystemTime::now())
    }
}

impl Piece {
    /// A file that is finished, whose checksum is known.
    pub fn new(file: &File, checksum: String) -> io::Result<Piece> {
        Ok(Piece { checksum, stamp: Stamp::of(file)? })
    }

    /// Whether `file` is what was kept. It is read only if it may have been written to;
    /// then the stamp is renewed, and `true` says so.
    pub fn check(&mut self, file: &File, path: &Path) -> Result<bool, StateError> {
        let read = |error| StateError::file("read", path, error);
        let stamp = Stamp::of(file).map_err(read)?;
        if stamp == self.stamp {
            return Ok(false);
        }
        if content::checksum(file).map_err(read)? != self.checksum {
            return Err(StateError::Damaged(path.to_owned()));
        }
        self.stamp = stamp;
        Ok(true)
    }
}

impl Stamp {
    fn of(file: &File) -> io::Result<Stamp> {
        let status = file.metadata()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Stamp {
            boot: boot.trim().to_owned(),
            inode: status.ino(),
            size: status.len(),
            modified: (status.mtime(), status.mtime_nsec()),
            changed: (status.ctime(), status.ctime_nsec()),
        })
    }
}
