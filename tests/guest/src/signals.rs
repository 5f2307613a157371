// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals that are part of a test.
#![allow(unsafe_code, reason = "a signal handler")]

use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

extern "C" fn ignore(_: c_int) {}

/// Has a signal do nothing but end a system call.
pub fn survive(signal: Signal) -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// Survives the signal that comes with a memory failure.
pub fn ignore_bus_errors() -> nix::Result<()> {
    survive(Signal::SIGBUS)
}
