// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An initial RAM disk in one piece, as QEMU wants it.

use crate::archive;
use crate::machine::Initrd;
use std::fs::File;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", .0.display())]
pub struct Unreadable(PathBuf, #[source] io::Error);

/// All pieces, each where the kernel looks for it.
pub fn concatenate(pieces: &[Initrd]) -> Result<Vec<u8>, Unreadable> {
    let mut whole = Vec::new();
    for piece in pieces {
        whole.resize(whole.len().next_multiple_of(archive::ALIGNMENT), 0);
        match piece {
            Initrd::Bytes(bytes) => whole.extend_from_slice(bytes),
            Initrd::File(path) => {
                let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut whole));
                copied.map_err(|error| Unreadable(path.clone(), error))?;
            }
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_an_initrd_begin_where_the_kernel_looks() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let file = scratch.path().join("vmlinux");
        std::fs::write(&file, "vmlinux").expect("written");
        let pieces =
            [Initrd::Bytes(b"12345".to_vec()), Initrd::File(file), Initrd::Bytes(b"next".to_vec())];
        assert_eq!(concatenate(&pieces).expect("whole"), b"12345\0\0\0vmlinux\0next");
    }
}
