// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals that are part of a test.
#![allow(unsafe_code, reason = "a signal handler")]

use crate::ktap::{Outcome, expect_equal};
use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

extern "C" fn ignore(_: c_int) {}

/// Has a signal do nothing but end a system call.
pub fn survive(signal: Signal) -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// Stops process `id`, a child, and returns when it has stopped.
pub fn stop(id: Pid) -> Outcome {
    kill(id, Signal::SIGSTOP)?;
    let stopped = waitpid(id, Some(WaitPidFlag::WUNTRACED))?;
    expect_equal("the process", &stopped, &WaitStatus::Stopped(id, Signal::SIGSTOP))
}
