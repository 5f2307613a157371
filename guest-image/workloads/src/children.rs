// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Child processes by `fork` without `exec`, which is what mm tests are about.
#![allow(unsafe_code, reason = "fork")]

use crate::Failure;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A child process. Dropped without [`wait`](Self::wait), it is killed.
pub struct Child {
    id: Option<Pid>,
}

impl Child {
    /// Forks; the child does `body` and exits with 0, or prints why it failed and
    /// exits with 1. Nothing of the parent's is dropped in the child.
    ///
    /// In a process with several threads, the others do not exist in the child:
    /// `body` must then not wait for them, nor allocate.
    pub fn start(body: impl FnOnce() -> Result<(), Failure>) -> Result<Self, Failure> {
        // SAFETY: as documented; it ends in _exit, so no parent's code runs twice.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { id: Some(child) }),
            ForkResult::Child => {
                let result = catch_unwind(AssertUnwindSafe(body));
                let code = match result {
                    Ok(Ok(())) => 0,
                    Ok(Err(why)) => {
                        eprintln!("child {}: {why}", std::process::id());
                        1
                    }
                    Err(_) => 1,
                };
                exit_now(code)
            }
        }
    }

    /// Its process ID.
    pub fn id(&self) -> i32 {
        self.id.map_or(0, Pid::as_raw)
    }

    /// Kills it and returns when it is gone.
    pub fn kill(mut self) -> Result<(), Failure> {
        let Some(id) = self.id.take() else { return Ok(()) };
        kill(id, Signal::SIGKILL)?;
        match waitpid(id, None)? {
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => Ok(()),
            other => Err(format!("the child was to be killed but ended with {other:?}").into()),
        }
    }

    /// Waits for it to end, and gives its exit code.
    pub fn wait(mut self) -> Result<i32, Failure> {
        let Some(id) = self.id.take() else { return Ok(0) };
        match waitpid(id, None)? {
            WaitStatus::Exited(_, code) => Ok(code),
            other => Err(format!("the child ended with {other:?}").into()),
        }
    }

    /// Waits for it to end well.
    pub fn succeed(self) -> Result<(), Failure> {
        match self.wait()? {
            0 => Ok(()),
            code => Err(format!("the child failed with exit code {code}").into()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let _ = kill(id, Signal::SIGKILL);
            let _ = waitpid(id, None);
        }
    }
}

/// Ends the process at once, without running destructors.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Ends this thread and no other, which a C library never does. Of a process with
/// one thread that is the end, but not the one that `exit_group` brings about.
pub fn end_thread(code: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { libc::syscall(libc::SYS_exit, libc::c_long::from(code)) };
    }
}

/// A point at which one process waits for another. The one that waits does not reach it,
/// so it lets go of its end: if the other one ends before, the wait ends as well.
pub struct Signpost {
    read: PipeReader,
    write: Mutex<Option<PipeWriter>>,
}

impl Signpost {
    /// To be made before the fork.
    pub fn new() -> Result<Self, Failure> {
        let (read, write) = pipe()?;
        Ok(Self { read, write: Mutex::new(Some(write)) })
    }

    fn write(&self) -> MutexGuard<'_, Option<PipeWriter>> {
        self.write.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the other one go on.
    ///
    /// # Errors
    /// As `write` answers, or if this process has waited for it.
    pub fn reach(&self) -> Result<(), Failure> {
        let mut write = self.write();
        write.as_mut().ok_or("this process waits for it itself")?.write_all(b"!")?;
        Ok(())
    }

    /// Returns when the other one has reached it.
    ///
    /// # Errors
    /// If it has ended before.
    pub fn wait(&self) -> Result<(), Failure> {
        drop(self.write().take());
        let read = (&self.read).read_exact(&mut [0]);
        read.map_err(|_| "the other process ended before it came so far".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_tell_how_they_ended() {
        Child::start(|| Ok(())).unwrap().succeed().unwrap();
        assert_eq!(Child::start(|| Err("on purpose".into())).unwrap().wait().unwrap(), 1);
        let (there, never) = (Signpost::new().unwrap(), Signpost::new().unwrap());
        let child = Child::start(|| {
            there.reach()?;
            never.wait()
        });
        there.wait().unwrap();
        child.unwrap().kill().unwrap();
    }

    #[test]
    fn whoever_waits_for_a_child_that_has_failed_is_told() {
        let never = Signpost::new().unwrap();
        let child = Child::start(|| Err("on purpose".into())).unwrap();
        assert!(never.wait().unwrap_err().to_string().contains("ended before"));
        assert_eq!(child.wait().unwrap(), 1);
    }
}
