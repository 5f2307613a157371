// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The last steps before the command: its process starts a new session and takes the
//! terminal if there is one. And why a command could not be started.
// What happens between fork and exec has no safe interface.
#![allow(unsafe_code)]

use nix::sys::signal::SigSet;
use rustix::process::ioctl_tiocsctty;
use rustix::stdio::stdin;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As shells have it.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Has `command` lead a session of its own, whose terminal its standard input then is, if
/// `has_terminal`. Init blocks signals, and a mask outlives exec: a shell would wait for ever.
pub fn lead(command: &mut Command, has_terminal: bool) {
    // SAFETY: the closure makes system calls only, and touches no memory but its own.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            SigSet::empty().thread_set_mask()?;
            if has_terminal { Ok(ioctl_tiocsctty(stdin())?) } else { Ok(()) }
        });
    }
}

/// The exit code of a command that could not be started, and why in words.
pub fn explain(command: &Command, error: &io::Error) -> (u8, String) {
    let program = Path::new(command.get_program());
    let (code, reason) = match (error.kind(), find(command, program)) {
        (io::ErrorKind::NotFound, None) => (NOT_FOUND, "no such program in the guest".to_owned()),
        (io::ErrorKind::NotFound, Some(path)) => {
            let lacks = "the guest lacks the interpreter or dynamic loader that";
            (NOT_EXECUTABLE, format!("{lacks} {} names; link it statically", path.display()))
        }
        _ => (NOT_EXECUTABLE, error.to_string()),
    };
    (code, format!("farfault-init: cannot run {}: {reason}", program.display()))
}

/// The file that exec would have tried.
fn find(command: &Command, program: &Path) -> Option<PathBuf> {
    let is_there = |path: &PathBuf| File::open(path).is_ok();
    if program.components().count() > 1 {
        let folder = command.get_current_dir().unwrap_or(Path::new("/"));
        return Some(folder.join(program)).filter(is_there);
    }
    let (_, path) = command.get_envs().find(|(name, _)| *name == "PATH")?;
    std::env::split_paths(path?).map(|folder| folder.join(program)).find(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    fn command(program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", "/nowhere:/bin").current_dir("/etc");
        command
    }

    #[test]
    fn a_missing_program_and_a_missing_loader_are_told_apart() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let (code, reason) = explain(&command("none"), &missing);
        assert_eq!(code, NOT_FOUND);
        assert_eq!(reason, "farfault-init: cannot run none: no such program in the guest");
        let (code, reason) = explain(&command("./passwd"), &missing);
        assert_eq!(code, NOT_EXECUTABLE);
        assert!(reason.contains("/etc/./passwd") && reason.contains("statically"), "{reason}");
    }

    #[test]
    fn what_is_there_but_refused_is_not_executable() {
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(explain(&command("/etc/passwd"), &refused).0, NOT_EXECUTABLE);
    }

    #[test]
    fn programs_are_found_by_path_and_by_name() {
        let find = |program: &str| find(&command(program), Path::new(program));
        assert_eq!(find("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find("/no/such/program"), None);
        assert_eq!(find("sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn a_command_leads_its_session_with_no_signal_blocked() {
        let said = std::thread::spawn(|| {
            let mut mask = SigSet::empty();
            mask.add(Signal::SIGCHLD);
            mask.thread_block().unwrap();
            let mut command = command("sh");
            lead(command.args(["-c", "grep SigBlk /proc/self/status; cat /proc/$$/stat"]), false);
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        });
        let said = said.join().unwrap();
        let (blocked, status) = said.split_once('\n').unwrap();
        assert_eq!(blocked, "SigBlk:\t0000000000000000");
        let fields: Vec<&str> = status.split_whitespace().collect();
        assert_eq!(fields[0], fields[5], "a session has the number of its leader");
    }
}
