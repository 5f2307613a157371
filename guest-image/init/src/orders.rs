// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's orders: an archive with the description of the command and the user's files,
//! which comes over the control port when all is prepared.

use crate::control::{self, Requests};
use crate::failure::{Doing, Failure};
use crate::files;
use cpio::NewcReader;
use nix::sys::stat::SFlag;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

/// Waits for orders, and puts what they bring in place; whether more come after these.
pub fn receive(requests: &mut Requests) -> Result<bool, Failure> {
    loop {
        let request = control::next(requests).ok_or(Failure::NoOrders)?;
        if let Some(wake) = request.wake {
            wake.apply()?;
        }
        if let Some(length) = request.orders {
            unpack(requests.take(length), Path::new("/")).doing("unpack the command's files")?;
            files::place()?;
            return Ok(request.prepares);
        }
    }
}

/// Unpacks all members of a cpio archive below `root`.
fn unpack(mut archive: impl Read, root: &Path) -> io::Result<()> {
    loop {
        let mut member = NewcReader::new(archive)?;
        if member.entry().is_trailer() {
            // The next request begins behind what is padding here.
            return io::copy(&mut member.finish()?, &mut io::sink()).map(drop);
        }
        let entry = member.entry();
        let path = root.join(entry.name());
        let kind = SFlag::from_bits_truncate(entry.mode()) & SFlag::S_IFMT;
        let mode = Permissions::from_mode(entry.mode() & 0o7777);
        match kind {
            SFlag::S_IFDIR => {
                fs::create_dir_all(&path)?;
                fs::set_permissions(&path, mode)?;
            }
            SFlag::S_IFLNK => {
                let mut target = Vec::new();
                member.read_to_end(&mut target)?;
                symlink(OsStr::from_bytes(&target), &path)?;
            }
            _ => {
                let mut options = OpenOptions::new();
                let mut file =
                    options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
                io::copy(&mut member, &mut file)?;
                file.set_permissions(mode)?;
            }
        }
        archive = member.finish()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::NewcBuilder;
    use cpio::newc::trailer;
    use std::io::Write;

    fn archive(members: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, mode, data) in members {
            let mut writer = NewcBuilder::new(name).mode(*mode).write(out, data.len() as u32);
            writer.write_all(data).unwrap();
            out = writer.finish().unwrap();
        }
        trailer(out).unwrap()
    }

    #[test]
    fn members_come_back_as_they_were() {
        let scratch = tempfile::tempdir().unwrap();
        let members: [(&str, u32, &[u8]); 4] = [
            ("sub", 0o40750, b""),
            ("sub/data", 0o100640, b"12345"),
            ("sub/link", 0o120777, b"data"),
            ("sub/data", 0o100711, b"1"),
        ];
        unpack(&archive(&members)[..], scratch.path()).unwrap();
        let path = |name: &str| scratch.path().join(name);
        let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("sub"), mode("sub/data")), (0o750, 0o711));
        assert_eq!(fs::read(path("sub/link")).unwrap(), b"1");
        assert!(path("sub/link").is_symlink());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let whole = archive(&[("data", 0o100644, &[7; 1000])]);
        for length in [0, 50, 600, whole.len() - 60] {
            assert!(unpack(&whole[..length], scratch.path()).is_err(), "{length}");
        }
    }
}
