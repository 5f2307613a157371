// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU as a child process that cannot outlive us.

// What happens between fork and exec has no safe interface.
#![allow(unsafe_code)]

use crate::child;
use crate::footprint::PrivateDirty;
use crate::machine::MachineEnd;
use crate::session::{Guest, Runner};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use parking_lot::Mutex;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// A running QEMU.
pub struct Child {
    state: Arc<Mutex<Running>>,
    complaint: Mutex<Option<JoinHandle<Option<String>>>>,
    /// Bytes of the guest's memory, which is one mapping.
    ram: u64,
}

struct Running {
    /// Gone once the process is reaped, so that no other gets our signal.
    pid: Option<Pid>,
    stopped: bool,
    /// Why it was stopped, if something else of ours has failed.
    failure: Option<String>,
}

/// Ends a QEMU without which or with which we cannot go on.
#[derive(Clone)]
pub struct Undo(Arc<Mutex<Running>>);

impl Undo {
    /// Stops it, unless it has ended by itself; its end says why.
    pub fn fail(&self, why: String) {
        let mut state = self.0.lock();
        state.failure.get_or_insert(why);
        state.kill();
    }
}

impl Running {
    fn kill(&self) {
        if let Some(pid) = self.pid {
            // It is our child and not reaped, so this cannot fail.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

impl Child {
    /// Starts `command`, whose guest has `ram` bytes of memory, and which inherits open files
    /// that are closed here then. To be called
    /// on the main thread: the child is killed when its parent thread ends.
    pub fn start(mut command: Command, inherited: Vec<OwnedFd>, ram: u64) -> io::Result<Child> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let parent = Pid::this();
        // SAFETY: the closure makes system calls only, and touches no memory but its own.
        unsafe {
            command.pre_exec(move || {
                // Here and not before the fork: no other child shall have them.
                let keep = |fd| fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map(drop);
                inherited.iter().try_for_each(keep)?;
                child::die_with(parent)
            });
        }
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
        let running = Running { pid: Some(pid), stopped: false, failure: None };
        let state = Arc::new(Mutex::new(running));
        let undo = Undo(Arc::clone(&state));
        let listen = |stderr| thread::spawn(move || last_complaint(stderr, &undo));
        let complaint = Mutex::new(child.stderr.take().map(listen));
        Ok(Child { state, complaint, ram })
    }

    /// What ends it when something else of ours fails.
    pub fn undo(&self) -> Undo {
        Undo(Arc::clone(&self.state))
    }

    /// Waits for its end.
    pub fn runner(&self) -> Runner {
        let state = Arc::clone(&self.state);
        let complaint = self.complaint.lock().take();
        Box::new(move || {
            let Some(pid) = state.lock().pid else { return Ok(MachineEnd::Stopped) };
            // Waits without reaping: until then the process id is this child's.
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(pid), flags) == Err(nix::Error::EINTR) {}
            let (status, stopped, failure) = {
                let mut state = state.lock();
                state.pid = None;
                (waitpid(pid, None), state.stopped, state.failure.take())
            };
            let complaint = complaint.and_then(|thread| thread.join().ok()).flatten();
            match failure {
                Some(why) if was_killed(status) && !stopped => Err(why),
                _ => judge(status, stopped, complaint),
            }
        })
    }
}

impl Guest for Child {
    fn memory(&self) -> PrivateDirty {
        // Until it is reaped, which needs the lock, the process is ours.
        let state = self.state.lock();
        let is_ram = |range: Range<u64>| range.end - range.start == self.ram;
        state.pid.map(|pid| PrivateDirty::of(&pid.to_string(), is_ram)).unwrap_or_default()
    }

    /// What it wrote is in our sockets and files by now.
    fn switch_off(&self) {
        self.stop();
    }

    fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped |= state.pid.is_some();
        state.kill();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How QEMU begins a line when KVM cannot run a CPU any further (accel/kvm/kvm-all.c). It dumps the
/// CPU's state then, and has the machine stand still for ever.
const STUCK: [&str; 3] = ["KVM internal error", "KVM: entry failed", "error: kvm run failed"];

/// Reads what QEMU says, and keeps its last line that is no warning. (It
/// warns of each feature of the CPU model that TCG lacks.) One that stands still is ended.
fn last_complaint(stderr: impl io::Read, undo: &Undo) -> Option<String> {
    let lines = BufReader::new(stderr).split(b'\n').map_while(Result::ok);
    lines
        .map(|line| String::from_utf8_lossy(&line).trim().to_owned())
        .filter(|line| !line.is_empty() && !line.contains(": warning: "))
        .inspect(|line| {
            if STUCK.iter().any(|words| line.starts_with(words)) {
                undo.fail(format!("QEMU's guest cannot go on: {line}"));
            }
        })
        .last()
}

fn was_killed(status: nix::Result<WaitStatus>) -> bool {
    matches!(status, Ok(WaitStatus::Signaled(_, Signal::SIGKILL, _)))
}

fn judge(
    status: nix::Result<WaitStatus>,
    stopped: bool,
    complaint: Option<String>,
) -> Result<MachineEnd, String> {
    let why = complaint.map_or_else(String::new, |line| format!(": {line}"));
    match status {
        _ if stopped => Ok(MachineEnd::Stopped),
        Ok(WaitStatus::Exited(_, 0)) => Ok(MachineEnd::PowerOff),
        // It was told to end so, and says nothing then.
        Ok(WaitStatus::Exited(_, 1)) if why.is_empty() => Ok(MachineEnd::Panic),
        Ok(WaitStatus::Exited(_, code)) => Err(format!("QEMU ended with code {code}{why}")),
        Ok(WaitStatus::Signaled(_, signal, _)) => Err(format!("QEMU was killed by {signal}{why}")),
        Ok(other) => Err(format!("QEMU ended with {other:?}{why}")),
        Err(errno) => Err(format!("cannot wait for QEMU: {errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> io::Result<Child> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Child::start(command, Vec::new(), 0)
    }

    #[test]
    fn ends_are_told_apart() {
        let run = |script| start(script).expect("started").runner()();
        assert_eq!(run("exit 0"), Ok(MachineEnd::PowerOff));
        assert_eq!(run("exit 1"), Ok(MachineEnd::Panic));
        assert_eq!(
            run("echo 'q: warning: w' >&2; echo 'q: no such machine' >&2; exit 1"),
            Err("QEMU ended with code 1: q: no such machine".to_owned())
        );
        assert_eq!(run("kill -9 $$"), Err("QEMU was killed by SIGKILL".to_owned()));
    }

    #[test]
    fn a_stop_ends_it_and_is_no_failure() {
        let child = start("exec sleep 1000").expect("started");
        let runner = child.runner();
        child.stop();
        assert_eq!(runner(), Ok(MachineEnd::Stopped));
        child.stop();
    }

    #[test]
    fn what_fails_beside_it_ends_it_and_is_told() {
        let child = start("exec sleep 1000").expect("started");
        let runner = child.runner();
        child.undo().fail("no device".to_owned());
        assert_eq!(runner(), Err("no device".to_owned()));
        // An end of its own says more.
        let child = start("echo 'q: no memory' >&2; exit 1").expect("started");
        let (undo, runner) = (child.undo(), child.runner());
        let pid = child.state.lock().pid.expect("a child");
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("its end");
        undo.fail("no device".to_owned());
        assert_eq!(runner(), Err("QEMU ended with code 1: q: no memory".to_owned()));
    }

    #[test]
    fn a_guest_that_stands_still_for_ever_is_ended() {
        let script = "echo 'KVM internal error. Suberror: 3' >&2; echo RAX=0 >&2; exec sleep 10";
        let ended = start(script).expect("started").runner()();
        let why = "QEMU's guest cannot go on: KVM internal error. Suberror: 3";
        assert_eq!(ended, Err(why.to_owned()));
    }

    #[test]
    fn a_dropped_child_dies() {
        let child = start("exec sleep 1000").expect("started");
        let runner = child.runner();
        drop(child);
        assert_eq!(runner(), Ok(MachineEnd::Stopped));
    }

    #[test]
    fn what_cannot_start_is_an_error() {
        assert!(Child::start(Command::new("/nowhere/qemu"), Vec::new(), 0).is_err());
    }
}
