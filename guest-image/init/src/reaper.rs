// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waits for processes: PID 1 inherits every orphan and must bury them all.

use crate::failure::{Doing, Failure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Far longer than any exit takes, even of a process with gigabytes to unmap
/// under nested emulation.
const PATIENCE: Duration = Duration::from_secs(30);

/// Learns of every child that ends.
pub struct Reaper {
    deaths: SignalFd,
}

impl Reaper {
    /// To be made before the first child and the first thread.
    pub fn new() -> Result<Self, Failure> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block().doing("block SIGCHLD")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { deaths: SignalFd::with_flags(&mask, flags).doing("wait for SIGCHLD")? })
    }

    /// Buries whoever ends until `child` does; its exit code, which is 128 and
    /// the signal's number if it was killed.
    pub fn await_exit(&self, child: Pid) -> Result<i32, Failure> {
        loop {
            while let Some(status) = next_death()? {
                if status.pid() == Some(child)
                    && let Some(code) = exit_code(status)
                {
                    return Ok(code);
                }
            }
            self.sleep(PollTimeout::NONE);
        }
    }

    /// Ends every other process and waits until they are gone.
    pub fn end_all(&self) -> Result<(), Failure> {
        match kill(Pid::from_raw(-1), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno).doing("end what the command left running"),
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            while next_death()?.is_some() {}
            if no_children() {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Unkillable { who: survivors(), seconds: PATIENCE.as_secs() });
            }
            self.sleep(PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        }
    }

    fn sleep(&self, timeout: PollTimeout) {
        // A failed wait is an early look at who has died.
        let _ = poll(&mut [PollFd::new(self.deaths.as_fd(), PollFlags::POLLIN)], timeout);
        while matches!(self.deaths.read_signal(), Ok(Some(_))) {}
    }
}

/// A child that has died, if any.
fn next_death() -> Result<Option<WaitStatus>, Failure> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        Ok(status) => Ok(Some(status)),
        Err(errno) => Err(errno).doing("wait for a child"),
    }
}

fn no_children() -> bool {
    waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD)
}

fn exit_code(status: WaitStatus) -> Option<i32> {
    match status {
        WaitStatus::Exited(_, code) => Some(code),
        WaitStatus::Signaled(_, signal, _) => Some(128 + signal as i32),
        _ => None,
    }
}

/// Names the processes that are left; kernel threads have no command line.
fn survivors() -> String {
    let mut names = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        let is_process = id != "1" && id.bytes().all(|byte| byte.is_ascii_digit());
        if is_process && fs::read(entry.path().join("cmdline")).is_ok_and(|line| !line.is_empty()) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            names.push(format!("{} ({id})", name.trim_end()));
        }
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_a_shells() {
        let pid = Pid::from_raw(2);
        assert_eq!(exit_code(WaitStatus::Exited(pid, 3)), Some(3));
        assert_eq!(exit_code(WaitStatus::Signaled(pid, Signal::SIGSEGV, true)), Some(139));
        assert_eq!(exit_code(WaitStatus::Stopped(pid, Signal::SIGTSTP)), None);
    }
}
