// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals as events. They are blocked before the first thread starts, so
//! that none of them ends the program behind the terminal's back.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::thread;

/// Those that end a session, and the one that tells of a new window size.
const WATCHED: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH];

/// Signals that arrive as events.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the watched signals for this thread and those it starts.
    pub fn block() -> nix::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in WATCHED {
            set.add(signal);
        }
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
        // A read from the terminal by a background job then fails like the end
        // of its input, where SIGTTIN would stop the whole machine.
        set.clear();
        set.add(Signal::SIGTTIN);
        set.thread_block()?;
        Ok(Signals(signals))
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
