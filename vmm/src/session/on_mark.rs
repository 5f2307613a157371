// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A program of the user's that is run at each mark, while the guest waits.

// What happens between fork and exec has no safe interface.
#![allow(unsafe_code)]

use super::sender::Sender;
use crate::child;
use crate::output::tell;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use serde_json::Value;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// Marks that may wait for the program. A guest that sets more does not wait for an answer.
const MAX_WAITING: usize = 16;

/// A mark, and what its guest is answered.
pub struct Mark {
    pub name: String,
    pub answer: Value,
    pub control: Sender,
}

impl Mark {
    fn answer(&self) {
        self.control.line(&self.answer);
    }
}

/// The way to the thread that runs the program.
pub struct OnMark {
    marks: SyncSender<Mark>,
    /// Marks for which it was not run, of which nothing has been told yet.
    left_out: Arc<AtomicU64>,
}

impl OnMark {
    /// The way there, and what that thread does until nobody goes it any more.
    pub fn new(program: PathBuf) -> (OnMark, impl FnOnce() + Send + 'static) {
        let (marks, waiting) = sync_channel(MAX_WAITING);
        let left_out = Arc::<AtomicU64>::default();
        let on_mark = OnMark { marks, left_out: Arc::clone(&left_out) };
        (on_mark, move || run_at_marks(&program, waiting, &left_out))
    }

    /// Has the guest answered when the program has run.
    pub fn hear(&self, mark: Mark) {
        let heard = self.marks.try_send(mark);
        if let Err(TrySendError::Full(mark) | TrySendError::Disconnected(mark)) = heard {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            mark.answer();
        }
    }
}

fn run_at_marks(program: &Path, marks: Receiver<Mark>, left_out: &AtomicU64) {
    let complain = |why: String| tell(&format!("farfault: --on-mark {}: {why}", program.display()));
    for mark in marks {
        if let Err(why) = run(program, &mark.name) {
            complain(format!("{}: {why}", mark.name));
        }
        mark.answer();
        let left_out = left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            complain(format!("not run for {left_out} marks: too many came at once"));
        }
    }
}

/// Runs it; signals that are blocked here are not for it. What it prints is not the guest's output.
fn run(program: &Path, mark: &str) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(mark).stdin(Stdio::null()).stdout(io::stderr());
    let parent = Pid::this();
    // SAFETY: the closure makes system calls only, and touches no memory but its own.
    unsafe {
        command.pre_exec(move || {
            SigSet::empty().thread_set_mask()?;
            child::die_with(parent)
        });
    }
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}
