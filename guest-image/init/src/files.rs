// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The user's files. The host leaves them in a folder of their own, and init puts
//! each in its place: the kernel, unpacking, would replace a link such as /usr/bin
//! by an empty folder of that name, and with it all that the link led to.

use crate::failure::Failure;
use std::fs;
use std::io;
use std::path::Path;

const FOLDER: &str = "/farfault/files";

/// Puts those that have come in place.
pub fn place() -> Result<(), Failure> {
    match fs::exists(FOLDER) {
        Ok(true) => merge(Path::new(FOLDER), Path::new("/")),
        _ => Ok(()),
    }
}

/// Moves what is in `from` to `to`. A folder that is there, or that a link leads to, keeps
/// what it has.
fn merge(from: &Path, to: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(from).map_err(Failure::file("put", from))? {
        let entry = entry.map_err(Failure::file("put", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let moved = match (source.is_dir() && !source.is_symlink(), target.is_dir()) {
            (true, true) => {
                merge(&source, &target)?;
                Ok(())
            }
            (false, true) => Err(io::Error::other("the guest has a folder there")),
            (_, false) => fs::rename(&source, &target),
        };
        moved.map_err(Failure::file("put", target))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// A guest with /bin/sh and /usr/bin -> ../bin, and files for it.
    fn scene(files: &[&str]) -> (TempDir, PathBuf, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let [guest, files_folder] = ["guest", "files"].map(|name| scratch.path().join(name));
        fs::create_dir_all(guest.join("bin")).unwrap();
        fs::create_dir_all(guest.join("usr")).unwrap();
        fs::write(guest.join("bin/sh"), "shell").unwrap();
        symlink("../bin", guest.join("usr/bin")).unwrap();
        for file in files {
            let path = files_folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "user's").unwrap();
        }
        (scratch, guest, files_folder)
    }

    #[test]
    fn a_file_below_a_link_leaves_what_is_there() {
        let (_scratch, guest, files) = scene(&["usr/bin/x", "opt/y", "bin/sh"]);
        merge(&files, &guest).unwrap();
        let read = |path: &str| fs::read_to_string(guest.join(path)).unwrap();
        assert!(guest.join("usr/bin").is_symlink());
        assert_eq!((read("bin/x"), read("opt/y")), ("user's".into(), "user's".into()));
        assert_eq!(read("bin/sh"), "user's", "a file is replaced by a file");
    }

    #[test]
    fn a_file_in_place_of_a_folder_is_refused() {
        let (_scratch, guest, files) = scene(&["usr/bin"]);
        let error = merge(&files, &guest).unwrap_err().to_string();
        assert!(error.ends_with("guest/usr/bin: the guest has a folder there"), "{error}");
        assert!(guest.join("usr/bin/sh").exists());
    }
}
