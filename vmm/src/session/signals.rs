// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals as events. They are blocked before the first thread starts, so
//! that none of them ends the program behind the terminal's back.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs;
use std::io;
use std::thread;

/// Those that end a session, and the one that tells of a new window size.
const WATCHED: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH];

/// Signals that arrive as events.
pub struct Signals(SignalFd);

/// Signals that are blocked for this thread as long as this lives.
pub struct Blocked(SigSet);

impl Signals {
    /// Blocks the watched signals for this thread and those it starts. One that
    /// is ignored, as by nohup, stays so: blocked, it would arrive.
    pub fn block() -> io::Result<(Signals, Blocked)> {
        let ignored = ignored(&fs::read_to_string("/proc/self/status")?);
        let watched = WATCHED.into_iter().filter(|signal| ignored >> (*signal as u32 - 1) & 1 == 0);
        let mut set = SigSet::from_iter(watched);
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
        // A read from the terminal by a background job then fails like the end
        // of its input, where SIGTTIN would stop the whole machine.
        set.add(Signal::SIGTTIN);
        set.thread_block()?;
        Ok((Signals(signals), Blocked(set)))
    }

    /// Hands each signal to `deliver`, on a thread of its own, until that says
    /// that nobody listens.
    pub fn watch(self, deliver: impl Fn(Signal) -> bool + Send + 'static) {
        thread::spawn(move || {
            loop {
                let Ok(Some(info)) = self.0.read_signal() else { return };
                let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                if !Signal::try_from(number).is_ok_and(&deliver) {
                    return;
                }
            }
        });
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // Fails only for a set that is none.
        let _ = self.0.thread_unblock();
    }
}

/// The signals that a process ignores, one a bit, as `/proc/PID/status` shows them.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
