// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The socket at which clients come: its owner's only, one client at a time, and gone when the
//! program ends.

use farfault_vfio_user::Bell;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, umask};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Where clients come.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: what is at the path later may be somebody else's.
    identity: (u64, u64),
}

impl Socket {
    /// Makes one at `path`. One that a server left behind is replaced, and nothing else is. To
    /// be called before any other thread starts.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let bind = || {
            let before = umask(Mode::from_bits_truncate(0o177));
            let bound = UnixListener::bind(path);
            umask(before);
            bound
        };
        let listener = match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_behind(path)? => {
                fs::remove_file(path)?;
                bind()?
            }
            bound => bound?,
        };
        listener.set_nonblocking(true)?;
        let identity = identity(path)?;
        Ok(Self { listener, path: path.canonicalize()?, identity })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next client, or nothing when the bell rings first.
    pub fn accept(&self, bell: &Bell) -> io::Result<Option<UnixStream>> {
        accept(&self.listener, bell)
    }
}

/// The next client of a listener that does not block, or nothing when the bell rings first.
pub fn accept(listener: &UnixListener, bell: &Bell) -> io::Result<Option<UnixStream>> {
    loop {
        let mut files = [
            PollFd::new(bell.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut files, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if bell.has_rung() {
            return Ok(None);
        }
        match listener.accept() {
            Ok((client, _)) => return Ok(Some(client)),
            // It has left already.
            Err(error) if is_passing(error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // It may be gone by now.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = fs::symlink_metadata(path)?;
    Ok((about.dev(), about.ino()))
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

/// Whether a socket is there at which nobody listens.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error),
        Ok(_) => Ok(false),
    }
}

#[cfg(test)]
#[path = "socket_test.rs"]
mod tests;
