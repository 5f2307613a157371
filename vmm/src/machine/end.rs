// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a run comes to its end: whoever notices first says so, and the event
//! loop hears of it.

use super::error::MachineError;
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// How a run of the guest came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineEnd {
    /// The guest switched the power off.
    PowerOff,
    /// The guest asked for a reset (reset register or keyboard controller).
    Reset,
    /// A vCPU met a triple fault: the guest's kernel is beyond repair.
    TripleFault,
    /// A vCPU met code that KVM can neither run nor emulate, as where there is no memory.
    NotRunnable {
        /// Where the code is.
        rip: u64,
    },
    /// [`Stopper::stop`] was called.
    Stopped,
}

/// The end of a run, not yet come.
pub struct EndLatch {
    event: EventFd,
    outcome: Mutex<Option<Result<MachineEnd, MachineError>>>,
    ended: AtomicBool,
    stop_wanted: AtomicBool,
}

impl EndLatch {
    /// Nothing has ended.
    pub fn new() -> io::Result<Arc<EndLatch>> {
        Ok(Arc::new(EndLatch {
            event: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
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

    /// Whether the run has ended.
    pub fn has_come(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the caller has lost patience, even with output.
    pub fn stop_wanted(&self) -> bool {
        self.stop_wanted.load(Ordering::Acquire)
    }

    /// How the run ended.
    pub fn outcome(&self) -> Result<MachineEnd, MachineError> {
        let outcome = self.outcome.lock().take();
        outcome.unwrap_or(Err(MachineError::Internal("the run ended without a reason")))
    }
}

/// Ends a run from any thread.
#[derive(Clone)]
pub struct Stopper(pub(super) Arc<EndLatch>);

impl Stopper {
    /// Asks the machine to stop; the run then ends as [`MachineEnd::Stopped`],
    /// without waiting for anyone to read the guest's output. Called while
    /// output is flushed after an end of the guest's own, it cuts that short.
    pub fn stop(&self) {
        self.0.stop_wanted.store(true, Ordering::Release);
        self.0.report(Ok(MachineEnd::Stopped));
    }
}

/// Wakes the event loop when the end has come.
pub struct EndWatcher(pub Arc<EndLatch>);

impl MutEventSubscriber for EndWatcher {
    fn init(&mut self, ops: &mut EventOps) {
        // Adding a fresh descriptor to a fresh loop cannot fail.
        let _ = ops.add(Events::new(&self.0.event, EventSet::IN));
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        let _ = self.0.event.read();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
