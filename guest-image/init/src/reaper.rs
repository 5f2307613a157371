// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waits for processes: PID 1 inherits every orphan and must bury them all. And
//! hears from them: `halt`, `poweroff` and `reboot` send it a signal each.

use crate::failure::{Doing, Failure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::RebootMode;
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

/// What busybox's applets send to process 1, and what the kernel does for Ctrl-Alt-Del.
/// A machine that is halted is switched off: nobody could tell it from one that sleeps.
const REQUESTS: [(Signal, RebootMode); 4] = [
    (Signal::SIGUSR1, RebootMode::RB_POWER_OFF),
    (Signal::SIGUSR2, RebootMode::RB_POWER_OFF),
    (Signal::SIGTERM, RebootMode::RB_AUTOBOOT),
    (Signal::SIGINT, RebootMode::RB_AUTOBOOT),
];

/// How the wait for a command ends.
#[derive(Debug, PartialEq)]
pub enum Ended {
    /// The command has ended with this code.
    Command(i32),
    /// A process wants the machine to end.
    Machine(RebootMode),
}

/// Learns of every child that ends.
pub struct Reaper {
    signals: SignalFd,
}

impl Reaper {
    /// To be made before the first child and the first thread.
    pub fn new() -> Result<Self, Failure> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        REQUESTS.iter().for_each(|(signal, _)| mask.add(*signal));
        mask.thread_block().doing("block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { signals: SignalFd::with_flags(&mask, flags).doing("wait for signals")? })
    }

    /// Buries whoever ends until `child` does, or the machine is to end. An exit code
    /// is 128 and the signal's number if the child was killed.
    pub fn await_exit(&self, child: Pid) -> Result<Ended, Failure> {
        loop {
            while let Some(status) = next_death()? {
                if status.pid() == Some(child)
                    && let Some(code) = exit_code(status)
                {
                    return Ok(Ended::Command(code));
                }
            }
            if let Some(mode) = self.sleep(PollTimeout::NONE) {
                return Ok(Ended::Machine(mode));
            }
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
            if waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Unkillable { who: survivors(), seconds: PATIENCE.as_secs() });
            }
            self.sleep(PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        }
    }

    /// Sleeps until a signal comes; how the machine is to end, if it says that.
    fn sleep(&self, timeout: PollTimeout) -> Option<RebootMode> {
        // A failed wait is an early look at who has died.
        let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout);
        let mut asked = None;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            asked = asked.or_else(|| request(signal.ssi_signo));
        }
        asked
    }
}

fn request(number: u32) -> Option<RebootMode> {
    let mut requests = REQUESTS.iter();
    requests.find(|(signal, _)| *signal as u32 == number).map(|(_, mode)| *mode)
}

/// A child that has died, if any.
fn next_death() -> Result<Option<WaitStatus>, Failure> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        Ok(status) => Ok(Some(status)),
        Err(errno) => Err(errno).doing("wait for a child"),
    }
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
    fn a_request_ends_the_wait_for_a_command() {
        // On a thread: its mask is the test's own, and so is a signal to it.
        let waited = std::thread::spawn(|| {
            let reaper = Reaper::new().unwrap();
            nix::sys::signal::raise(Signal::SIGTERM).unwrap();
            reaper.sleep(PollTimeout::from(1000u16))
        });
        assert_eq!(waited.join().unwrap(), Some(RebootMode::RB_AUTOBOOT));
        assert_eq!(request(Signal::SIGUSR1 as u32), Some(RebootMode::RB_POWER_OFF));
        assert_eq!(request(Signal::SIGCHLD as u32), None);
    }

    #[test]
    fn exit_codes_are_a_shells() {
        let pid = Pid::from_raw(2);
        assert_eq!(exit_code(WaitStatus::Exited(pid, 3)), Some(3));
        assert_eq!(exit_code(WaitStatus::Signaled(pid, Signal::SIGSEGV, true)), Some(139));
        assert_eq!(exit_code(WaitStatus::Stopped(pid, Signal::SIGTSTP)), None);
    }
}
