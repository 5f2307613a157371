// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of a first guest and of the guest in it: all that their state at "ready for a
//! command" depends on, in one name.

use super::FirstGuest;
use super::words::Inherited;
use crate::machine::Initrd;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const PROGRAM: &str = "/proc/self/exe";

impl FirstGuest {
    /// The name of its state: a hash, by content where that is not too long to read.
    pub fn shape(&self) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        let inherited = Inherited { disk: Some("disk".into()), ..Inherited::default() };
        for word in self.qemu.words().into_iter().chain(self.arguments(&inherited)) {
            part(&mut hasher, word.as_encoded_bytes());
        }
        part(&mut hasher, self.qemu.version.to_string().as_bytes());
        part(&mut hasher, self.inner.request.as_deref().unwrap_or_default().as_bytes());
        part(&mut hasher, self.orders.prepare.as_deref().unwrap_or_default());
        part(&mut hasher, blake3_of(Path::new(PROGRAM))?.as_bytes());
        self.file(&mut hasher, &self.qemu.path)?;
        self.file(&mut hasher, &self.kernel)?;
        self.file(&mut hasher, &self.initrd)?;
        self.file(&mut hasher, &self.inner.kernel)?;
        for piece in &self.inner.initrd {
            match piece {
                Initrd::File(path) => self.file(&mut hasher, path)?,
                Initrd::Bytes(bytes) => part(&mut hasher, bytes),
            }
        }
        Ok(hasher.finalize().to_hex().as_str().chars().take(16).collect())
    }

    /// Adds a file: of the image and of QEMU, which are made whole and have their place in the
    /// cache, name, size and date, else the content.
    fn file(&self, hasher: &mut blake3::Hasher, path: &Path) -> io::Result<()> {
        let is_made_whole = path.parent() == Some(&self.image) || path == self.qemu.path;
        if !is_made_whole {
            part(hasher, blake3_of(path)?.as_bytes());
            return Ok(());
        }
        let status = fs::metadata(path)?;
        part(hasher, path.as_os_str().as_encoded_bytes());
        for number in [status.len() as i64, status.mtime(), status.mtime_nsec()] {
            part(hasher, &number.to_le_bytes());
        }
        Ok(())
    }
}

/// Adds one part so that no other parts look the same.
fn part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn blake3_of(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}
