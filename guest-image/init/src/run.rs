// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One command from its description to its exit code.

use crate::control::{self, Control, Message, Request};
use crate::description::{self, Description, Role};
use crate::failure::Failure;
use crate::ports::Ports;
use crate::reaper::{Ended, Reaper};
use crate::streams::Streams;
use crate::terminal::Terminal;
use crate::{console, counters, loopback, marks, modules, pmem, session};
use nix::errno::Errno;
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;

/// Where the VMM in a first guest leaves what it has counted.
const STATS: &str = "/run/stats.json";
/// The variables that a command always has; its description may change them.
const ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/bin:/usr/bin:/sbin:/usr/sbin"), ("HOME", "/root"), ("TERM", "linux")];

/// Runs the command and tells the host how it ended; how the machine is to end then.
pub fn run(ports: &Ports, control: &Arc<Control>, reaper: &Reaper) -> Result<RebootMode, Failure> {
    let description = Description::read(description::PATH)?;
    loopback::bring_up()?;
    prepare(&description)?;
    let cwd = &description.cwd;
    // Spawning reports a missing folder and a missing program alike.
    fs::read_dir(cwd).map_err(Failure::file("start the command in", cwd))?;
    marks::serve(Arc::clone(control), description.mark_ack)?;

    let streams = Streams::open(ports, description.tty)?;
    let (child, mut joined) = streams.start(command(&description))?;
    let child = Pid::from_raw(child.id().cast_signed());
    obey(control, child, joined.terminal.take())?;

    let ended = reaper.await_exit(child)?;
    // Whatever the command left behind may hold the streams open.
    reaper.end_all()?;
    joined.drain();
    match ended {
        Ended::Command(exit) => {
            control.send(&Message::Exit { exit, driver: counters::read(), stats: stats() })?;
            Ok(RebootMode::RB_POWER_OFF)
        }
        Ended::Machine(mode) => Ok(mode),
    }
}

fn prepare(description: &Description) -> Result<(), Failure> {
    match description.role {
        Role::Guest | Role::Shell => {
            pmem::load()?;
            match description.driver {
                true => modules::load_driver(&description.driver_params),
                false => Ok(()),
            }
        }
        Role::L1 => modules::require_kvm(),
    }
}

fn command(description: &Description) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(session::NAME)
        .args(&description.argv)
        .current_dir(&description.cwd)
        .env_clear()
        .envs(ENVIRONMENT)
        .envs(&description.env);
    command
}

/// Does what the host asks for while the command runs, on a thread of its own.
fn obey(control: &Arc<Control>, command: Pid, terminal: Option<Terminal>) -> Result<(), Failure> {
    let reader = control.reader()?;
    let control = Arc::clone(control);
    thread::spawn(move || {
        control::listen(reader, |Request { winsize, signal, marked }| {
            if let (Some(size), Some(terminal)) = (winsize, &terminal) {
                terminal.resize(size);
            }
            if let Some(number) = signal {
                pass_on(number, command);
            }
            if let Some(name) = marked {
                control.note_marked(name);
            }
        });
    });
    Ok(())
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

fn stats() -> Option<serde_json::Value> {
    let text = fs::read(STATS).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| console::say(&format!("{STATS} is not JSON: {error}")))
        .ok()
}
