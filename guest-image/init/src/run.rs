// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One command from the orders to its exit code.

use crate::control::{self, Control, Message, Request, Requests};
use crate::description::{Description, Preparation, Role};
use crate::failure::Failure;
use crate::ports::Ports;
use crate::reaper::{Ended, Reaper};
use crate::streams::{Joined, Started, Streams};
use crate::terminal::Terminal;
use crate::{console, counters, device, loopback, marks, modules, orders, pmem};
use nix::errno::Errno;
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;

/// The variables that a command always has; its description may change them.
const ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/bin:/usr/bin:/sbin:/usr/sbin"), ("HOME", "/root"), ("TERM", "linux")];

/// Prepares the guest, runs the command that the host orders, and tells how it ended; how
/// the machine is to end then. The host may keep the guest's state while it waits for
/// orders, so what follows them may happen on another host, at another time.
pub fn run(ports: &Ports, control: &Arc<Control>, reaper: &Reaper) -> Result<RebootMode, Failure> {
    let preparation = Preparation::read()?;
    loopback::bring_up()?;
    prepare(&preparation, control)?;
    let streams = Streams::open(ports)?;
    let mut requests = control.requests()?;
    let ended = loop {
        control.send(&Message::Ready { ready: true })?;
        if !orders::receive(&mut requests)? {
            control.send(&Message::Begun { begun: true })?;
            if preparation.late_device {
                get_device(&preparation)?;
            }
            break run_command(streams, requests, control, reaper)?;
        }
        match run_before(&streams, reaper)? {
            Ended::Command(0) => {}
            failed => break failed,
        }
    };
    match ended {
        Ended::Command(exit) => {
            // Once it is told the host may switch the guest off.
            if pmem::exists() {
                nix::unistd::sync();
            }
            control.send(&Message::Exit { exit, driver: counters::read() })?;
            Ok(RebootMode::RB_POWER_OFF)
        }
        Ended::Machine(mode) => Ok(mode),
    }
}

/// Runs the command that the orders brought.
fn run_command(
    streams: Streams,
    requests: Requests,
    control: &Arc<Control>,
    reaper: &Reaper,
) -> Result<Ended, Failure> {
    if pmem::exists() {
        pmem::load()?;
    }
    let description = Description::read()?;
    let command = command(&description)?;
    let started = if description.direct {
        streams.start_directly(command)
    } else {
        streams.start(command, description.tty)
    };
    match started? {
        Started::Refused(code) => Ok(Ended::Command(code.into())),
        Started::Running(child, mut joined) => {
            let pid = Pid::from_raw(child.id().cast_signed());
            obey(requests, control, pid, joined.terminal.take());
            attend(&child, joined, reaper)
        }
    }
}

/// Runs what comes before the command, which has no input.
fn run_before(streams: &Streams, reaper: &Reaper) -> Result<Ended, Failure> {
    match streams.again()?.start_without_input(&mut command(&Description::read()?)?)? {
        Started::Refused(code) => Ok(Ended::Command(code.into())),
        Started::Running(child, joined) => attend(&child, joined, reaper),
    }
}

/// Waits until the command, all that it left behind and its streams have ended.
fn attend(child: &Child, joined: Joined, reaper: &Reaper) -> Result<Ended, Failure> {
    let ended = reaper.await_exit(Pid::from_raw(child.id().cast_signed()))?;
    // Whatever it left behind may hold the streams open.
    reaper.end_all()?;
    joined.drain();
    Ok(ended)
}

fn prepare(preparation: &Preparation, control: &Arc<Control>) -> Result<(), Failure> {
    if preparation.role == Role::L1 {
        return modules::require_kvm();
    }
    if pmem::exists() {
        pmem::withhold()?;
    }
    let has_device = device::exists();
    if preparation.driver && (has_device || preparation.late_device) {
        modules::load_driver(&preparation.driver_params)?;
    }
    if preparation.driver && has_device {
        device::require_node()?;
    }
    marks::serve(Arc::clone(control), preparation.mark_ack)
}

/// Finds the device that the machine has by now.
fn get_device(preparation: &Preparation) -> Result<(), Failure> {
    device::find()?;
    if preparation.driver { device::require_node() } else { Ok(()) }
}

fn command(description: &Description) -> Result<Command, Failure> {
    let (program, arguments) = description.argv.split_first().ok_or(Failure::EmptyCommand)?;
    // Spawning reports a missing folder and a missing program alike.
    let cwd = &description.cwd;
    fs::read_dir(cwd).map_err(Failure::file("start the command in", cwd))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(cwd).env_clear().envs(ENVIRONMENT).envs(&description.env);
    Ok(command)
}

/// Does what the host asks for while the command runs, on a thread of its own.
fn obey(mut requests: Requests, control: &Arc<Control>, command: Pid, terminal: Option<Terminal>) {
    let control = Arc::clone(control);
    thread::spawn(move || {
        while let Some(request) = control::next(&mut requests) {
            let Request { winsize, signal, marked, wake, .. } = request;
            if let (Some(size), Some(terminal)) = (winsize, &terminal) {
                terminal.resize(size);
            }
            if let Some(number) = signal {
                pass_on(number, command);
            }
            if let Some(name) = marked {
                control.note_marked(name);
            }
            if let Some(Err(failure)) = wake.map(|wake| wake.apply()) {
                console::say(&failure);
            }
        }
    });
}

/// Sends a signal to the command and all of its process group.
fn pass_on(number: i32, command: Pid) {
    let group = Pid::from_raw(-command.as_raw());
    let send = |signal| match kill(group, signal) {
        // The command has not come as far as to lead its group.
        Err(Errno::ESRCH) => kill(command, signal),
        outcome => outcome,
    };
    match Signal::try_from(number).and_then(send) {
        Ok(()) => {}
        Err(errno) => console::say(&format!("cannot send signal {number}: {errno}")),
    }
}
