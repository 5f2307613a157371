// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The cpio archives that init gets from us: one behind the image's initrd, which says how
//! the guest is to be prepared, and one with its orders, the command and the user's files.
//! The kernel unpacks concatenated archives in order, so a member of the first also
//! replaces one of the image.

use cpio::NewcBuilder;
use cpio::newc::{self, ModeFileType};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where init looks for what comes before the command.
const PREPARATION_PATH: &str = "farfault/preparation";
/// Where init looks for what it is to run.
const COMMAND_PATH: &str = "farfault/command";
/// Where init finds the user's files, which it puts in their places: the kernel, which has
/// no mercy on what is there, would make a folder of a link.
const FILES_PATH: &str = "farfault/files";

/// What init does before it is ready for a command.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preparation {
    pub role: Role,
    /// Whether the guest driver is loaded.
    pub driver: bool,
    /// Parameters for the guest driver, as `modprobe` takes them.
    pub driver_params: String,
    /// Whether the machine gets the device only when init has its orders.
    pub late_device: bool,
    /// Whether a mark waits until the host has answered it.
    pub mark_ack: bool,
}

/// What init runs then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuestCommand {
    pub argv: Vec<String>,
    /// Variables added to its environment.
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    /// Whether it gets a terminal of its own.
    pub tty: bool,
    /// Whether it gets the ports themselves, and not pipes.
    pub direct: bool,
}

/// What a guest is for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs one command with the device.
    Guest,
    /// The first guest of nested mode: runs this program on its own KVM.
    L1,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot read {0} for the guest")]
    Read(PathBuf, #[source] io::Error),
    #[error("{0} is neither a file, a directory nor a symbolic link")]
    Kind(PathBuf),
    /// newc sizes are 32 bits.
    #[error("{0} is larger than a cpio archive can hold (4 GiB)")]
    TooLarge(PathBuf),
    /// newc names are UTF-8 here.
    #[error("the name of {0} is not UTF-8")]
    Name(PathBuf),
    #[error("cannot write the guest's files")]
    Write(#[from] io::Error),
}

/// An archive being written to `W`.
pub struct Archive<W: Write> {
    out: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty archive. It must begin at a multiple of four bytes.
    pub fn new(out: W) -> Archive<W> {
        Archive { out, inode: 0, directories: BTreeSet::new() }
    }

    /// Adds how the guest is to be prepared.
    pub fn preparation(&mut self, preparation: &Preparation) -> Result<(), ArchiveError> {
        self.json(PREPARATION_PATH, preparation)
    }

    /// Adds what init is to run.
    pub fn command(&mut self, command: &GuestCommand) -> Result<(), ArchiveError> {
        self.json(COMMAND_PATH, command)
    }

    fn json(&mut self, path: &str, value: &impl Serialize) -> Result<(), ArchiveError> {
        let json = serde_json::to_vec(value).map_err(io::Error::from)?;
        self.bytes(path, 0o644, &json)
    }

    /// Adds a file made of `data`.
    pub fn bytes(&mut self, guest: &str, mode: u32, data: &[u8]) -> Result<(), ArchiveError> {
        let name = self.parents(guest)?;
        self.member(&name, ModeFileType::Regular, mode, data)
    }

    /// Adds a file or directory of the user's that init is to put at `guest`.
    pub fn user_file(&mut self, host: &Path, guest: &str) -> Result<(), ArchiveError> {
        self.path(host, &format!("{FILES_PATH}/{guest}"))
    }

    /// Adds `host`, a file or a whole directory, under the name `guest`.
    pub fn path(&mut self, host: &Path, guest: &str) -> Result<(), ArchiveError> {
        let name = self.parents(guest)?;
        self.tree(host, &name, true)
    }

    /// Ends the archive and gives the writer back.
    pub fn finish(self) -> Result<W, ArchiveError> {
        Ok(newc::trailer(self.out)?)
    }

    /// A link named by the user is followed; links inside a directory stay links.
    fn tree(&mut self, host: &Path, name: &str, follow: bool) -> Result<(), ArchiveError> {
        let read = |error| ArchiveError::Read(host.to_owned(), error);
        let status =
            if follow { fs::metadata(host) } else { fs::symlink_metadata(host) }.map_err(read)?;
        let mode = status.permissions().mode() & 0o7777;
        if status.is_dir() {
            self.directory(name, mode)?;
            let mut entries = fs::read_dir(host)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(read)?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let file = entry.file_name();
                let file = file.to_str().ok_or_else(|| ArchiveError::Name(entry.path()))?;
                self.tree(&entry.path(), &format!("{name}/{file}"), false)?;
            }
            Ok(())
        } else if status.is_symlink() {
            let target = fs::read_link(host).map_err(read)?;
            self.member(name, ModeFileType::Symlink, 0o777, target.as_os_str().as_bytes())
        } else if status.is_file() {
            let too_large = |_| ArchiveError::TooLarge(host.to_owned());
            let size = u32::try_from(status.len()).map_err(too_large)?;
            let file = File::open(host).map_err(read)?;
            let header = self.header(name, ModeFileType::Regular, mode);
            let mut writer = header.write(&mut self.out, size);
            if io::copy(&mut file.take(size.into()), &mut writer).map_err(read)? != u64::from(size)
            {
                return Err(read(io::Error::other("the file became shorter while it was read")));
            }
            writer.finish()?;
            Ok(())
        } else {
            Err(ArchiveError::Kind(host.to_owned()))
        }
    }

    fn member(
        &mut self,
        name: &str,
        kind: ModeFileType,
        mode: u32,
        data: &[u8],
    ) -> Result<(), ArchiveError> {
        let size = u32::try_from(data.len()).map_err(|_| ArchiveError::TooLarge(name.into()))?;
        let mut writer = self.header(name, kind, mode).write(&mut self.out, size);
        writer.write_all(data)?;
        writer.finish()?;
        Ok(())
    }

    fn header(&mut self, name: &str, kind: ModeFileType, mode: u32) -> NewcBuilder {
        self.inode = self.inode.saturating_add(1);
        NewcBuilder::new(name).ino(self.inode).mode(mode).set_mode_file_type(kind)
    }

    /// The kernel makes no directory by itself: adds those that `guest` lies in.
    fn parents(&mut self, guest: &str) -> Result<String, ArchiveError> {
        let parts: Vec<&str> =
            guest.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let mut path = String::new();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.directory(&path.clone(), 0o755)?;
                path.push('/');
            }
            path.push_str(part);
        }
        Ok(path)
    }

    fn directory(&mut self, name: &str, mode: u32) -> Result<(), ArchiveError> {
        if name.is_empty() || !self.directories.insert(name.to_owned()) {
            return Ok(());
        }
        self.member(name, ModeFileType::Directory, mode, &[])
    }
}

/// Where an archive may begin behind another.
pub const ALIGNMENT: usize = 4;

/// Pads `out`, which holds `len` bytes, to where the next archive may begin.
pub fn align(out: &mut impl Write, len: u64) -> io::Result<()> {
    let padding = [0u8; ALIGNMENT];
    let short = usize::try_from(len.next_multiple_of(ALIGNMENT as u64) - len).unwrap_or(0);
    out.write_all(padding.get(..short).unwrap_or(&padding))
}

#[cfg(test)]
#[path = "archive_test.rs"]
mod tests;
