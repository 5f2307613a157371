// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine that stands still for as long as somebody wants: any thread may ask, and the
//! event loop's, on which nothing else happens then, grants it.

use super::error::MachineError;
use super::saved::{SaveError, SavedMachine};
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// Where standing still is asked for.
pub struct Standstill {
    event: EventFd,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    wish: Option<Wish>,
    closed: bool,
}

struct Wish {
    saved: SyncSender<Result<SavedMachine, SaveError>>,
    over: Receiver<()>,
}

/// A machine that stands still until this is dropped.
pub struct Standing {
    /// All of it but its memory.
    pub machine: SavedMachine,
    _over: Sender<()>,
}

impl Standstill {
    pub fn new() -> io::Result<Arc<Standstill>> {
        let event = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Arc::new(Standstill { event, desk: Mutex::default() }))
    }

    /// Has the machine stand still, if all of it is idle at this moment.
    pub fn ask(&self) -> Result<Standing, SaveError> {
        let (saved, answer) = mpsc::sync_channel(1);
        let (_over, over) = mpsc::channel();
        {
            let mut desk = self.desk.lock();
            if desk.closed {
                return Err(SaveError::Ended);
            }
            desk.wish = Some(Wish { saved, over });
        }
        // Fails only when the event is raised already.
        let _ = self.event.write(1);
        let machine = answer.recv().map_err(|_| SaveError::Ended)??;
        Ok(Standing { machine, _over })
    }

    /// Whether somebody waits.
    pub fn is_asked_for(&self) -> bool {
        self.desk.lock().wish.is_some()
    }

    /// For who waits: the machine as `save` finds it, which stands still by now. Returns when
    /// it may go on.
    pub fn grant(&self, save: impl FnOnce() -> Result<SavedMachine, SaveError>) {
        let Some(Wish { saved, over }) = self.desk.lock().wish.take() else { return };
        let result = save();
        let stands = result.is_ok();
        if saved.send(result).is_ok() && stands {
            // Nothing is ever sent: the other end goes.
            let _ = over.recv();
        }
    }

    /// The machine has come to its end, also for who waits.
    pub fn close(&self) {
        *self.desk.lock() = Desk { wish: None, closed: true };
    }
}

/// Wakes the event loop when somebody asks.
pub struct StandstillWatcher(pub Arc<Standstill>);

impl MutEventSubscriber for StandstillWatcher {
    fn init(&mut self, ops: &mut EventOps) {
        // Adding a fresh descriptor to a fresh loop cannot fail.
        let _ = ops.add(Events::new(&self.0.event, EventSet::IN));
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        let _ = self.0.event.read();
    }
}

impl Drop for StandstillWatcher {
    /// The event loop is no more, whatever has ended it.
    fn drop(&mut self) {
        self.0.close();
    }
}

impl From<MachineError> for SaveError {
    fn from(error: MachineError) -> SaveError {
        SaveError::Machine(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn who_asks_is_answered_also_when_it_is_over() {
        let standstill = Standstill::new().unwrap();
        let asked = |answer: &dyn Fn()| {
            thread::scope(|scope| {
                let asked = scope.spawn(|| standstill.ask().err());
                while !standstill.is_asked_for() {
                    thread::yield_now();
                }
                answer();
                asked.join().unwrap()
            })
        };
        let busy = asked(&|| standstill.grant(|| Err(SaveError::Busy("console"))));
        assert!(matches!(busy, Some(SaveError::Busy("console"))));
        assert!(!standstill.is_asked_for());
        // Nobody asks.
        standstill.grant(|| unreachable!());
        let over = asked(&|| drop(StandstillWatcher(Arc::clone(&standstill))));
        assert!(matches!(over, Some(SaveError::Ended)));
        assert!(matches!(standstill.ask().err(), Some(SaveError::Ended)));
    }
}
