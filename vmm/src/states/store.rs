// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The folder with all states of a user. A state appears whole or not at all, and whoever
//! has opened one keeps it though its name is gone.

use super::StateError;
use super::content;
use super::manifest::{Manifest, Piece};
use crate::image;
use nix::sys::statvfs::statvfs;
use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const RAM: &str = "ram";
const MACHINE: &str = "machine";
/// In the name of a folder that is being filled.
const PART: &str = ".part-";
/// How much all states of a user may take.
const LIMIT: u64 = 8 << 30;
/// What stays free on the disk.
const RESERVE: u64 = 1 << 30;

/// Where states are kept.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// One that can be taken up: its files, open for reading.
#[derive(Debug)]
pub struct State {
    /// The guest's memory, to be mapped privately or copied.
    pub ram: File,
    /// All else.
    pub machine: File,
}

/// A state for people to look at.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub about: String,
    /// Bytes on the disk.
    pub size: u64,
    pub used: SystemTime,
}

/// A state that is being made; it goes away unless it is finished.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    kept: PathBuf,
    /// Locked as long as somebody fills the folder.
    _lock: File,
}

impl Store {
    /// The user's, in the cache.
    pub fn of_user() -> Store {
        Store::at(image::cache().join("states"))
    }

    fn at(folder: PathBuf) -> Store {
        Store { folder }
    }

    /// The state with this name, if there is one.
    pub fn open(&self, name: &str) -> Result<Option<State>, StateError> {
        let folder = self.folder.join(name);
        if !folder.exists() {
            return Ok(None);
        }
        own(&folder)?;
        let mut manifest = Manifest::read(&folder)?;
        let open = |name: &str| {
            let path = folder.join(name);
            own(&path)?;
            let file = File::open(&path).map_err(|error| StateError::file("open", &path, error))?;
            Ok((file, path))
        };
        let (ram, ram_path) = open(RAM)?;
        let (machine, machine_path) = open(MACHINE)?;
        let renewed = manifest.ram.check(&ram, &ram_path)?;
        let also = manifest.machine.check(&machine, &machine_path)?;
        // On a disk that is read-only nothing can be noted, and nothing need be.
        let _ = if renewed || also { manifest.write(&folder) } else { Manifest::touch(&folder) };
        Ok(Some(State { ram, machine }))
    }

    /// Begins to make a state with this name.
    pub fn draft(&self, name: &str) -> Result<Draft, StateError> {
        let folder = self.folder.join(format!("{name}{PART}{}", std::process::id()));
        let failed = |error| StateError::file("make", &folder, error);
        self.sweep();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let lock = File::open(&folder).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Draft { kept: self.folder.join(name), folder, _lock: lock })
    }

    /// All states, the one that was used last first.
    pub fn list(&self) -> Vec<Entry> {
        let entry = |name: String| {
            let folder = self.folder.join(&name);
            let about = Manifest::read(&folder).map_or_else(|_| "damaged".into(), |it| it.about);
            let used = fs::metadata(folder.join("manifest")).and_then(|status| status.modified());
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            Entry { about, size: size(&folder), used, name }
        };
        let mut all: Vec<Entry> = self.names(|name| !name.contains(PART)).map(entry).collect();
        all.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        all
    }

    /// Removes a state. Runs that have taken it up do not notice.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let folder = self.folder.join(name);
        fs::remove_dir_all(&folder).map_err(|error| StateError::file("remove", &folder, error))
    }

    /// Makes room for `needed` bytes more: what was not used for longest goes first.
    pub fn make_room(&self, needed: u64) -> Result<(), StateError> {
        let no_room = |left: u64| StateError::NoRoom {
            folder: self.folder.clone(),
            needed: needed >> 20,
            left: left >> 20,
        };
        if needed > LIMIT {
            return Err(no_room(LIMIT));
        }
        let mut states = self.list();
        let mut taken: u64 = states.iter().map(|entry| entry.size).sum();
        while taken + needed > LIMIT
            && let Some(oldest) = states.pop()
        {
            taken -= oldest.size;
            self.remove(&oldest.name)?;
        }
        let disk = statvfs(&self.folder)
            .map_err(|error| StateError::file("ask for room in", &self.folder, error.into()))?;
        let left = disk.blocks_available() * disk.fragment_size();
        if left < needed + RESERVE { Err(no_room(left)) } else { Ok(()) }
    }

    /// Removes what makers that were killed have left behind.
    fn sweep(&self) {
        for name in self.names(|name| name.contains(PART)) {
            let folder = self.folder.join(name);
            // Whoever still fills it holds the lock; nothing is lost if it cannot go now.
            if File::open(&folder).is_ok_and(|lock| lock.try_lock().is_ok()) {
                let _ = fs::remove_dir_all(&folder);
            }
        }
    }

    fn names(&self, wanted: fn(&str) -> bool) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(move |name| wanted(name))
    }
}

impl Draft {
    /// Where the machine's state is to be written.
    pub fn machine(&self) -> PathBuf {
        self.folder.join(MACHINE)
    }

    /// Takes a copy of the guest's memory; then the state is there for all.
    pub fn finish(self, ram: &File, about: &str) -> Result<(), StateError> {
        let failed = |error| StateError::file("write", &self.folder, error);
        self.fill(ram, about).map_err(failed)?;
        fs::rename(&self.folder, &self.kept).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => StateError::Kept(self.kept.clone()),
            _ => StateError::file("keep", &self.kept, error),
        })
    }

    fn fill(&self, ram: &File, about: &str) -> io::Result<()> {
        let copy = File::create(self.folder.join(RAM))?;
        let checksum = content::copy(ram, &copy)?;
        let machine = File::open(self.machine())?;
        // Whose guest it is, knows what is in it, and nobody else.
        for file in [&copy, &machine] {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        let ram = Piece::new(&copy, checksum)?;
        let machine = Piece::new(&machine, content::checksum(&machine)?)?;
        Manifest::new(about, ram, machine).write(&self.folder)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it is finished there is nothing of this name.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Fails unless `path` is this user's, and nobody else's to write.
fn own(path: &Path) -> Result<(), StateError> {
    let status =
        fs::symlink_metadata(path).map_err(|error| StateError::file("look at", path, error))?;
    let ours = status.uid() == geteuid().as_raw() && status.mode() & 0o022 == 0;
    if ours && !status.is_symlink() { Ok(()) } else { Err(StateError::Foreign(path.to_owned())) }
}

fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.blocks() * 512)).sum()
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
