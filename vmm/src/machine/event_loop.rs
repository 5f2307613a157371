// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The event loop, on event-manager.

use super::error::MachineError;
use event_manager::{Error, EventManager, MutEventSubscriber, SubscriberOps};
use nix::libc::EINTR;

/// More than there are events in a machine that stands still.
const TURNS: u32 = 1000;

/// Waits for events and hands them to who watches for them.
pub struct EventLoop(EventManager<Box<dyn MutEventSubscriber>>);

impl EventLoop {
    /// Nobody watches for anything yet.
    pub fn new() -> Result<EventLoop, MachineError> {
        EventManager::new().map(EventLoop).map_err(MachineError::EventLoop)
    }

    pub fn add(&mut self, subscriber: impl MutEventSubscriber + 'static) {
        self.0.add_subscriber(Box::new(subscriber));
    }

    /// Handles what has happened by now, and what follows from that; false if there is
    /// no end of it.
    pub fn settle(&mut self) -> Result<bool, MachineError> {
        for _ in 0..TURNS {
            match self.0.run_with_timeout(0) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(Error::Epoll(error)) if error.errno() == EINTR => {}
                Err(error) => return Err(MachineError::EventLoop(error)),
            }
        }
        Ok(false)
    }

    /// Handles events until `done`, which is asked after each batch.
    pub fn run_until(&mut self, done: impl Fn() -> bool) -> Result<(), MachineError> {
        loop {
            match self.0.run() {
                Ok(_) => {}
                Err(Error::Epoll(error)) if error.errno() == EINTR => {}
                Err(error) => return Err(MachineError::EventLoop(error)),
            }
            if done() {
                return Ok(());
            }
        }
    }
}
