// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Process 1 of a Farfault guest: mounts, loads modules, runs the one command
//! that the host describes, tells the host how it ended, and powers off.
//!
//! Whatever goes wrong, the machine ends: the host gets `{"error":…}` on the
//! control port if that is open, the console gets the same line, and the power
//! goes off.

mod console;
mod control;
mod counters;
mod description;
mod device;
mod failure;
mod files;
mod kernel;
mod loopback;
mod marks;
mod modules;
mod mounts;
mod orders;
mod pmem;
mod ports;
mod reaper;
mod run;
mod session;
mod streams;
mod terminal;
mod uevents;
mod wake;

use control::{Control, Message};
use failure::{Doing, Failure};
use nix::sys::reboot::{RebootMode, reboot};
use ports::Ports;
use reaper::Reaper;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        end(std::panic::catch_unwind(work));
    }
    eprintln!("farfault-init: only the kernel of a Farfault guest runs this, as process 1");
    ExitCode::from(64)
}

/// The guest's whole life but its end; how that shall be.
fn work() -> Result<RebootMode, Failure> {
    mounts::mount_all()?;
    files::place()?;
    modules::load_listed()?;
    kernel::check()?;
    let reaper = Reaper::new()?;
    let ports = Ports::find()?;
    let control = Arc::new(Control::open(&ports)?);
    control.send(&Message::Started { started: true })?;
    run::run(&ports, &control, &reaper).or_else(|failure| {
        control.send(&Message::Error { error: failure.to_string() })?;
        Err(failure)
    })
}

/// Ends the machine, and never returns: without process 1 the kernel panics.
fn end(outcome: std::thread::Result<Result<RebootMode, Failure>>) -> ! {
    let how = match outcome {
        Ok(Ok(how)) => how,
        Ok(Err(failure)) => {
            console::say(&failure);
            RebootMode::RB_POWER_OFF
        }
        // It has printed itself.
        Err(_) => RebootMode::RB_POWER_OFF,
    };
    nix::unistd::sync();
    for how in [how, RebootMode::RB_AUTOBOOT] {
        match reboot(how).doing("end the machine") {
            Ok(never) => match never {},
            Err(failure) => console::say(&failure),
        }
    }
    loop {
        std::thread::park();
    }
}
