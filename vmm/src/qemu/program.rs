// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds a QEMU that is new enough.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "qemu-system-x86_64";
/// The oldest that runs a first guest: TCG must emulate nested SVM faithfully, which 7.2 does not
/// (it loses XSETBV intercepts).
pub const RUNS_FIRST_GUESTS: Version = Version(10, 0, 0);
/// The oldest that takes a device of another process (vfio-user).
pub const SERVES_DEVICES: Version = Version(10, 1, 0);

#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    #[error(
        "there is no {NAME} {0} or newer in the image's tools tree or on PATH; \
         run guest-image/build, or name one with --qemu"
    )]
    Missing(Version),
    #[error("cannot run {}", .0.display())]
    Run(PathBuf, #[source] std::io::Error),
    #[error("{} does not say which QEMU it is: {why}", path.display())]
    NotQemu { path: PathBuf, why: String },
    #[error("{} is QEMU {version}; it must be {oldest} or newer", path.display())]
    Old { path: PathBuf, version: Version, oldest: Version },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A QEMU and how it is called.
#[derive(Clone, Debug)]
pub struct Qemu {
    pub path: PathBuf,
    /// The tools tree that it belongs to; its own loader and libraries are
    /// used then, so that it runs on any host.
    tree: Option<PathBuf>,
}

impl Qemu {
    /// The one in `chosen`, else in the tools tree, else on `PATH`.
    pub fn find(
        chosen: Option<&Path>,
        tools: Option<&Path>,
        oldest: Version,
    ) -> Result<Qemu, QemuError> {
        if let Some(path) = chosen {
            return Qemu::of_host(path.to_owned(), oldest);
        }
        let in_tree = tools.map(|tree| (tree.join("usr/bin").join(NAME), tree));
        if let Some((path, tree)) = in_tree.filter(|(path, _)| path.is_file()) {
            // It was chosen for this when the tree was made.
            return Ok(Qemu { path, tree: Some(tree.to_owned()) });
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|dir| dir.join(NAME)).find(|path| path.is_file());
        Qemu::of_host(on_path.ok_or(QemuError::Missing(oldest))?, oldest)
    }

    /// One that a test has made.
    #[cfg(test)]
    pub fn at(path: &str) -> Qemu {
        Qemu { path: path.into(), tree: None }
    }

    fn of_host(path: PathBuf, oldest: Version) -> Result<Qemu, QemuError> {
        let qemu = Qemu { path, tree: None };
        let version = qemu.version()?;
        if version < oldest {
            return Err(QemuError::Old { path: qemu.path, version, oldest });
        }
        Ok(qemu)
    }

    /// Its version, by its own words; to load all its libraries for that takes a while.
    pub fn version(&self) -> Result<Version, QemuError> {
        let output = self
            .command()
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| QemuError::Run(self.path.clone(), error))?;
        version(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            let why = said.lines().last().map_or(output.status.to_string(), str::to_owned);
            QemuError::NotQemu { path: self.path.clone(), why }
        })
    }

    /// A command that runs it.
    pub fn command(&self) -> Command {
        let Some(tree) = &self.tree else { return Command::new(&self.path) };
        let libraries = tree.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&libraries).arg(&self.path);
        for firmware in ["qemu", "seabios"] {
            command.arg("-L").arg(tree.join("usr/share").join(firmware));
        }
        // QEMU looks for its modules beside the running program, which is the
        // loader here.
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        command
    }

    /// The words of that command, for people.
    pub fn words(&self) -> Vec<OsString> {
        let command = self.command();
        std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(ToOwned::to_owned)
            .collect()
    }
}

/// Reads `QEMU emulator version 11.1.3 (Debian …)`.
fn version(text: &str) -> Option<Version> {
    let number = text.strip_prefix("QEMU emulator version ")?.split_whitespace().next()?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some(Version(parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let debian = "QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)\nCopyright";
        assert_eq!(version(debian), Some(Version(11, 1, 3)));
        assert_eq!(version("QEMU emulator version 10.0\n"), Some(Version(10, 0, 0)));
        for other in ["", "bash 5", "QEMU emulator version x.y", "QEMU emulator version "] {
            assert_eq!(version(other), None, "{other}");
        }
        assert!(Version(7, 2, 9) < RUNS_FIRST_GUESTS && RUNS_FIRST_GUESTS < SERVES_DEVICES);
    }

    #[test]
    fn a_program_that_is_no_qemu_is_refused() {
        let find = |path| Qemu::find(Some(Path::new(path)), None, SERVES_DEVICES);
        let error = find("/bin/true").expect_err("no QEMU");
        assert_eq!(error.to_string(), "/bin/true does not say which QEMU it is: exit status: 0");
        let error = find("/nowhere/qemu").expect_err("no QEMU");
        assert_eq!(
            crate::exit::chain(&error),
            "cannot run /nowhere/qemu: No such file or directory (os error 2)"
        );
    }
}
