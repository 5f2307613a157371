// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes that cannot outlive us.

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io;

/// Has this process be killed when the thread that started it ends. For a new child to call before
/// it runs its program; `parent` is the process of that thread.
pub fn die_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have died before the line above.
    if Pid::parent() == parent { Ok(()) } else { Err(nix::Error::ESRCH.into()) }
}
