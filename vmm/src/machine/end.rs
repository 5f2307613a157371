// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a run comes to its end: whoever notices first says so, and the event
//! loop hears of it.

use super::error::MachineError;
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// How a run of the guest came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineEnd {
    /// The guest switched the power off.
    PowerOff,
    /// The guest reset itself (reset register or keyboard controller).
    Reset,
    /// It did, and its kernel would have said so if it had panicked.
    Reboot,
    /// The guest's kernel panicked.
    Panic,
    /// A vCPU met a triple fault: the guest's kernel is beyond repair.
    TripleFault,
    /// A vCPU met code that KVM can neither run nor emulate, as where there is no memory.
    NotRunnable {
        /// Where the code is.
        rip: u64,
    },
    /// Its debugger has ended it.
    Killed,
    /// The caller asked for it.
    Stopped,
}

impl fmt::Display for MachineEnd {
    /// Goes on from "the guest".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MachineEnd::PowerOff => f.write_str("switched itself off"),
            MachineEnd::Reset => f.write_str("reset itself"),
            MachineEnd::Reboot => f.write_str("restarted"),
            MachineEnd::Panic => f.write_str("panicked"),
            MachineEnd::NotRunnable { rip } => {
                write!(f, "runs code at {rip:#x} that cannot be run: there is no memory")
            }
            MachineEnd::TripleFault => f.write_str("ended in a triple fault"),
            MachineEnd::Killed => f.write_str("was ended by its debugger"),
            MachineEnd::Stopped => f.write_str("was stopped"),
        }
    }
}

/// How long a kernel that panics may go on printing why, if it does not reset.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The end of a run, not yet come.
pub struct EndLatch {
    event: EventFd,
    last_words: TimerFd,
    panicked: AtomicBool,
    outcome: Mutex<Option<Result<MachineEnd, MachineError>>>,
    ended: AtomicBool,
    stop_wanted: AtomicBool,
}

impl EndLatch {
    /// Nothing has ended.
    pub fn new() -> io::Result<Arc<EndLatch>> {
        Ok(Arc::new(EndLatch {
            event: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            last_words: TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?,
            panicked: AtomicBool::new(false),
            outcome: Mutex::new(None),
            ended: AtomicBool::new(false),
            stop_wanted: AtomicBool::new(false),
        }))
    }

    /// Starts a thread of the machine. If it dies, the run ends for that.
    pub fn spawn(
        self: &Arc<EndLatch>,
        name: String,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let (end, died) = (Arc::clone(self), name.clone());
        thread::Builder::new().name(name).spawn(move || {
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                end.report(Err(MachineError::ThreadDied(died)));
            }
        })
    }

    /// Says how the run ended. Only the first to say so is heard.
    pub fn report(&self, outcome: Result<MachineEnd, MachineError>) {
        self.outcome.lock().get_or_insert(outcome);
        self.ended.store(true, Ordering::Release);
        // Fails only when the event is raised already.
        let _ = self.event.write(1);
    }

    /// The guest's kernel has begun to panic; however it ends now, it is for that.
    pub fn note_panic(&self) {
        if !self.panicked.swap(true, Ordering::AcqRel) {
            let after = Expiration::OneShot(TimeSpec::from_duration(LAST_WORDS));
            // Fails only for times that are none.
            let _ = self.last_words.set(after, TimerSetTimeFlags::empty());
        }
    }

    /// The caller has lost patience, even with output.
    pub fn stop(&self) {
        self.stop_wanted.store(true, Ordering::Release);
        self.report(Ok(MachineEnd::Stopped));
    }

    /// Whether the run has ended.
    pub fn has_come(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether [`EndLatch::stop`] was called.
    pub fn stop_wanted(&self) -> bool {
        self.stop_wanted.load(Ordering::Acquire)
    }

    /// How the run ended.
    pub fn outcome(&self) -> Result<MachineEnd, MachineError> {
        let outcome = self.outcome.lock().take();
        let ending =
            outcome.unwrap_or(Err(MachineError::Internal("the run ended without a reason")))?;
        let by_itself = !matches!(ending, MachineEnd::Stopped | MachineEnd::Killed);
        Ok(if by_itself && self.panicked.load(Ordering::Acquire) {
            MachineEnd::Panic
        } else {
            ending
        })
    }
}

/// Wakes the event loop when the end has come.
pub struct EndWatcher(pub Arc<EndLatch>);

impl MutEventSubscriber for EndWatcher {
    fn init(&mut self, ops: &mut EventOps) {
        // Adding a fresh descriptor to a fresh loop cannot fail.
        let _ = ops.add(Events::new(&self.0.event, EventSet::IN));
        let timer = self.0.last_words.as_fd().as_raw_fd();
        let _ = ops.add(Events::new_raw(timer, EventSet::IN));
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        if events.fd() == self.0.event.as_raw_fd() {
            let _ = self.0.event.read();
        } else {
            let _ = self.0.last_words.unset();
            self.0.report(Ok(MachineEnd::Panic));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::event_loop::EventLoop;

    fn ending(panicked: bool, outcome: MachineEnd) -> MachineEnd {
        let end = EndLatch::new().unwrap();
        if panicked {
            end.note_panic();
        }
        end.report(Ok(outcome));
        end.outcome().unwrap()
    }

    #[test]
    fn a_panic_is_the_reason_of_whatever_the_guest_does_next() {
        for next in [MachineEnd::Reset, MachineEnd::PowerOff, MachineEnd::TripleFault] {
            assert_eq!(ending(true, next), MachineEnd::Panic);
            assert_eq!(ending(false, next), next);
        }
        assert_eq!(ending(true, MachineEnd::Stopped), MachineEnd::Stopped);
    }

    #[test]
    fn a_panic_that_does_not_end_ends_with_its_last_words() {
        let end = EndLatch::new().unwrap();
        let mut events = EventLoop::new().unwrap();
        events.add(EndWatcher(Arc::clone(&end)));
        end.note_panic();
        events.run_until(|| end.has_come()).unwrap();
        assert_eq!(end.outcome().unwrap(), MachineEnd::Panic);
    }

    #[test]
    fn a_thread_that_dies_ends_the_run() {
        let end = EndLatch::new().unwrap();
        end.spawn("well".to_owned(), || {}).unwrap().join().unwrap();
        assert!(!end.has_come());
        end.spawn("engine0".to_owned(), || panic!("as a bug of ours would"))
            .unwrap()
            .join()
            .unwrap();
        assert!(end.has_come());
        let why = end.outcome().expect_err("a failure");
        assert_eq!(why.to_string(), "internal error: the thread 'engine0' died");
    }
}
