// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of a machine: all that its state at "ready for a command" depends on, in one name.

use crate::machine::Initrd;
use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What runs, even if another file has its name by now.
const PROGRAM: &str = "/proc/self/exe";
/// Hexadecimal digits of a name.
const DIGITS: usize = 16;

/// Takes up one part after the other.
pub struct Shape {
    hasher: blake3::Hasher,
    /// Folders and files that are made whole and have their place in the cache.
    made_whole: Vec<PathBuf>,
}

impl Shape {
    /// Of a machine that this program makes. What is in `made_whole`, or is it, is told by name,
    /// size and date; other files by their content.
    pub fn new(made_whole: &[&Path]) -> io::Result<Shape> {
        let made_whole = made_whole.iter().map(|path| path.to_path_buf()).collect();
        let mut shape = Shape { hasher: blake3::Hasher::new(), made_whole };
        shape.file_named(&env::current_exe()?, Path::new(PROGRAM))?;
        Ok(shape)
    }

    /// Adds one part so that no other parts look the same.
    pub fn part(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    /// Adds a file.
    pub fn file(&mut self, path: &Path) -> io::Result<()> {
        self.file_named(path, path)
    }

    /// The same of a file that is to be opened by another name than its own.
    fn file_named(&mut self, name: &Path, path: &Path) -> io::Result<()> {
        let is_made_whole =
            self.made_whole.iter().any(|whole| name == whole || name.parent() == Some(whole));
        if !is_made_whole {
            self.part(blake3_of(path)?.as_bytes());
            return Ok(());
        }
        let status = fs::metadata(path)?;
        self.part(name.as_os_str().as_encoded_bytes());
        for number in [status.len() as i64, status.mtime(), status.mtime_nsec()] {
            self.part(&number.to_le_bytes());
        }
        Ok(())
    }

    /// Adds an initial RAM disk.
    pub fn initrd(&mut self, initrd: &[Initrd]) -> io::Result<()> {
        initrd.iter().try_for_each(|piece| match piece {
            Initrd::File(path) => self.file(path),
            Initrd::Bytes(bytes) => {
                self.part(bytes);
                Ok(())
            }
        })
    }

    /// The name.
    pub fn name(&self) -> String {
        self.hasher.finalize().to_hex().as_str().chars().take(DIGITS).collect()
    }
}

fn blake3_of(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_whole_is_told_without_being_read() {
        let folder = tempfile::tempdir().expect("a folder");
        // A folder cannot be read as a file.
        let part = folder.path().join("part");
        fs::create_dir(&part).expect("made");
        let name = |made_whole: &[&Path]| {
            let mut shape = Shape::new(made_whole)?;
            shape.file(&part)?;
            io::Result::Ok(shape.name())
        };
        assert_eq!(name(&[]).expect_err("read").kind(), io::ErrorKind::IsADirectory);
        let first = name(&[folder.path()]).expect("not read");
        assert_eq!(name(&[folder.path()]).expect("not read"), first);
        File::create(part.join("new")).expect("changed");
        assert_ne!(name(&[folder.path()]).expect("not read"), first);
    }

    #[test]
    fn the_program_is_part_of_it() {
        let program = env::current_exe().expect("a program");
        let whole = program.parent().expect("in a folder");
        let name = |made_whole: &[&Path]| Shape::new(made_whole).expect("a shape").name();
        assert_eq!(name(&[whole]), name(&[whole]));
        assert_ne!(
            name(&[whole]),
            Shape { hasher: blake3::Hasher::new(), made_whole: Vec::new() }.name()
        );
    }
}
