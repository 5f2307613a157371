// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals that are part of a test.
#![allow(unsafe_code, reason = "a signal handler")]

use crate::children::Child;
use crate::ktap::{Outcome, expect_equal};
use nix::libc::{self, c_int, c_void, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Where [`end_if_expected`] expects to be called.
static EXPECTED: AtomicU64 = AtomicU64::new(0);

/// Ends the process, well if the address is right.
extern "C" fn end_if_expected(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel has filled it in.
    let info = unsafe { &*info };
    // SAFETY: a bus error has an address.
    let found = unsafe { info.si_addr() }.expose_provenance() as u64;
    let code = i32::from(found != EXPECTED.load(Ordering::Relaxed));
    // SAFETY: it needs nothing of the process's.
    unsafe { libc::_exit(code) }
}

/// Has a child read a byte at `address`, which must be a bus error there.
pub fn expect_bus_error(address: u64) -> Outcome {
    Child::start(|| {
        EXPECTED.store(address, Ordering::Relaxed);
        let handler = SigHandler::SigAction(end_if_expected);
        let action = SigAction::new(handler, SaFlags::SA_SIGINFO, SigSet::empty());
        // SAFETY: the handler does what may be done in one.
        unsafe { sigaction(Signal::SIGBUS, &action) }?;
        let byte = ptr::with_exposed_provenance::<u8>(address as usize);
        // SAFETY: it is mapped, or the test ends here.
        let byte = unsafe { byte.read_volatile() };
        Err(format!("there is {byte} at {address:#x}, and no bus error").into())
    })?
    .succeed()
}
