// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A socket that has no name, for a client that inherits a descriptor: it connects to
//! `/dev/fd/NUMBER`. QEMU takes a path for a device's socket, and no descriptor.

use nix::fcntl::OFlag;
use nix::unistd::mkdtemp;
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;

#[derive(Debug)]
pub struct Door {
    pub(super) listener: UnixListener,
    place: File,
}

impl Door {
    /// Makes one. It has a name for a moment, in a folder that only its owner may enter.
    pub fn new() -> io::Result<Door> {
        let folder = mkdtemp(&env::temp_dir().join("farfault-XXXXXX"))?;
        let path = folder.join("accelerator");
        let made = UnixListener::bind(&path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let place =
                File::options().read(true).custom_flags(OFlag::O_PATH.bits()).open(&path)?;
            Ok(Door { listener, place })
        });
        // Whatever of it is there.
        let _ = fs::remove_file(&path);
        fs::remove_dir(&folder)?;
        made
    }

    /// What the client is to inherit.
    pub fn place(&self) -> &File {
        &self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn who_has_the_descriptor_can_connect() {
        let door = Door::new().expect("a socket");
        let path = format!("/proc/self/fd/{}", door.place().as_raw_fd());
        UnixStream::connect(&path).expect("connected");
        assert!(door.listener.accept().is_ok());
        let name = fs::read_link(&path).expect("a name");
        assert!(name.to_string_lossy().ends_with("/accelerator (deleted)"), "{name:?}");
    }
}
