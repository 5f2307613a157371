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
    told: Told,
    over: Receiver<()>,
}

/// How who waits is told that the machine stands still.
enum Told {
    Still(SyncSender<()>),
    Saved(SyncSender<Result<SavedMachine, SaveError>>),
}

/// A machine stands still until this is dropped.
pub struct Hold {
    _over: Sender<()>,
}

/// A machine that stands still until this is dropped.
pub struct Standing {
    /// All of it but its memory.
    pub machine: SavedMachine,
    _hold: Hold,
}

impl Standstill {
    pub fn new() -> io::Result<Arc<Standstill>> {
        let event = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Arc::new(Standstill { event, desk: Mutex::default() }))
    }

    /// Has the machine stand still, if all of it is idle at this moment.
    pub fn ask(&self) -> Result<Standing, SaveError> {
        let (saved, answer) = mpsc::sync_channel(1);
        let hold = self.wish(Told::Saved(saved)).ok_or(SaveError::Ended)?;
        let machine = answer.recv().map_err(|_| SaveError::Ended)??;
        Ok(Standing { machine, _hold: hold })
    }

    /// Has its vCPUs stand still, whatever they do. Nothing if it has ended.
    pub fn hold(&self) -> Option<Hold> {
        let (still, answer) = mpsc::sync_channel(1);
        let hold = self.wish(Told::Still(still))?;
        answer.recv().ok().map(|()| hold)
    }

    fn wish(&self, told: Told) -> Option<Hold> {
        let (_over, over) = mpsc::channel();
        {
            let mut desk = self.desk.lock();
            if desk.closed {
                return None;
            }
            desk.wish = Some(Wish { told, over });
        }
        // Fails only when the event is raised already.
        let _ = self.event.write(1);
        Some(Hold { _over })
    }

    /// Whether somebody waits.
    pub fn is_asked_for(&self) -> bool {
        self.desk.lock().wish.is_some()
    }

    /// For who waits: the machine, which stands still by now, as `save` finds it if that is
    /// wanted. Returns when it may go on.
    pub fn grant(&self, save: impl FnOnce() -> Result<SavedMachine, SaveError>) {
        let Some(Wish { told, over }) = self.desk.lock().wish.take() else { return };
        let stands = match told {
            Told::Still(still) => still.send(()).is_ok(),
            Told::Saved(saved) => {
                let result = save();
                let stands = result.is_ok();
                saved.send(result).is_ok() && stands
            }
        };
        if stands {
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
    use std::sync::atomic::{AtomicBool, Ordering};
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

    #[test]
    fn it_stands_still_as_long_as_somebody_holds_it() {
        let standstill = Standstill::new().unwrap();
        let goes_on = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !standstill.is_asked_for() {
                    thread::yield_now();
                }
                standstill.grant(|| unreachable!("nobody wants it saved"));
                goes_on.store(true, Ordering::SeqCst);
            });
            let hold = standstill.hold().unwrap();
            for _ in 0..100 {
                thread::yield_now();
            }
            assert!(!goes_on.load(Ordering::SeqCst));
            drop(hold);
        });
        assert!(goes_on.into_inner());
        standstill.close();
        assert!(standstill.hold().is_none());
    }
}
