// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The last steps before the command: init runs itself as `session`, which
//! starts a new session, takes the terminal if there is one, and becomes the
//! command. So the steps between fork and exec are ordinary code.

use nix::sys::signal::SigSet;
use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// The first argument that asks for this.
pub const NAME: &str = "session";

/// As shells have it.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Becomes the command; the exit code if that fails.
pub fn enter(program: &str, arguments: &[String]) -> u8 {
    if let Err(error) = lead() {
        eprintln!("farfault-init: cannot start a session for {program}: {error}");
        return NOT_EXECUTABLE;
    }
    let error = Command::new(program).args(arguments).exec();
    let (code, reason) = explain(&error, find(program).as_deref());
    eprintln!("farfault-init: cannot run {program}: {reason}");
    code
}

/// Leads a session of its own. A leader's first terminal becomes the session's,
/// so opening it is enough; the descriptor itself is not needed.
fn lead() -> io::Result<()> {
    nix::unistd::setsid()?;
    unblock_all()?;
    if io::stdin().is_terminal() {
        drop(OpenOptions::new().read(true).write(true).open("/dev/stdin")?);
    }
    Ok(())
}

/// Init blocks SIGCHLD, and a mask outlives exec: a shell would wait for ever.
fn unblock_all() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

fn explain(error: &io::Error, found: Option<&Path>) -> (u8, String) {
    match (error.kind(), found) {
        (io::ErrorKind::NotFound, None) => (NOT_FOUND, "no such program in the guest".to_owned()),
        (io::ErrorKind::NotFound, Some(path)) => {
            let lacks = "the guest lacks the interpreter or dynamic loader that";
            (NOT_EXECUTABLE, format!("{lacks} {} names; link it statically", path.display()))
        }
        _ => (NOT_EXECUTABLE, error.to_string()),
    }
}

/// The file that exec would have tried.
fn find(program: &str) -> Option<PathBuf> {
    let is_there = |path: &PathBuf| File::open(path).is_ok();
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_there);
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn a_missing_program_and_a_missing_loader_are_told_apart() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(explain(&missing, None).0, NOT_FOUND);
        let (code, reason) = explain(&missing, Some(Path::new("/tmp/dynamic")));
        assert_eq!(code, NOT_EXECUTABLE);
        assert!(reason.contains("/tmp/dynamic") && reason.contains("statically"), "{reason}");
    }

    #[test]
    fn a_command_starts_with_no_signal_blocked() {
        let left = std::thread::spawn(|| {
            let mut mask = SigSet::empty();
            mask.add(Signal::SIGCHLD);
            mask.thread_block().unwrap();
            unblock_all().unwrap();
            SigSet::thread_get_mask().unwrap()
        });
        assert_eq!(left.join().unwrap(), SigSet::empty());
    }

    #[test]
    fn what_is_there_but_refused_is_not_executable() {
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(explain(&refused, Some(Path::new("/etc/passwd"))).0, NOT_EXECUTABLE);
    }

    #[test]
    fn programs_are_found_by_path_and_by_name() {
        assert_eq!(find("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find("/no/such/program"), None);
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-anywhere"), None);
    }
}
