// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MSI-X vectors as the client has them: an eventfd each. It keeps the table itself.

use farfault_vfio_user::{Errno, IrqAction, IrqData, SetIrqs};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::write;
use parking_lot::Mutex;
use std::os::fd::OwnedFd;

/// One of them.
#[derive(Debug, Default)]
struct Vector {
    event: Option<OwnedFd>,
    masked: bool,
    /// Raised while it was masked or had no eventfd. Clients take eventfds away and give them
    /// back while interrupts come, so one may well fall between.
    pending: bool,
}

/// All of them.
#[derive(Debug)]
pub struct Vectors(Mutex<Vec<Vector>>);

impl Vectors {
    /// So many, with no eventfd.
    pub fn new(count: u16) -> Self {
        Self(Mutex::new((0..count).map(|_| Vector::default()).collect()))
    }

    /// Raises one.
    pub fn signal(&self, number: u16) {
        if let Some(vector) = self.0.lock().get_mut(usize::from(number)) {
            vector.raise();
        }
    }

    /// Forgets what is pending.
    pub fn reset(&self) {
        self.0.lock().iter_mut().for_each(|vector| vector.pending = false);
    }

    /// Does what is asked. There are such vectors, and as many events or none.
    pub fn set(&self, set: &SetIrqs<'_>, events: Vec<OwnedFd>) -> Result<(), Errno> {
        let mut vectors = self.0.lock();
        let disables = set.count == 0 && set.data == IrqData::All;
        if disables && set.action == IrqAction::Trigger {
            vectors.iter_mut().for_each(|vector| *vector = Vector::default());
            return Ok(());
        }
        let chosen = vectors.iter_mut().skip(set.start as usize).take(set.count as usize);
        match (set.data, set.action) {
            (IrqData::Events, IrqAction::Trigger) => {
                for event in &events {
                    // Or a client that does not read would hold up an engine.
                    fcntl(event, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|_| Errno::INVAL)?;
                }
                let mut events = events.into_iter();
                chosen.for_each(|vector| vector.connect(events.next()));
            }
            // Events of masking: nothing is masked but by the client itself.
            (IrqData::Events, _) => return Err(Errno::INVAL),
            (IrqData::All, action) => chosen.for_each(|vector| vector.act(action)),
            (IrqData::Chosen(bytes), action) => {
                let chosen = chosen.zip(bytes).filter(|(_, byte)| **byte != 0);
                chosen.for_each(|(vector, _)| vector.act(action));
            }
        }
        Ok(())
    }
}

impl Vector {
    fn act(&mut self, action: IrqAction) {
        match action {
            IrqAction::Mask => self.masked = true,
            IrqAction::Unmask => {
                self.masked = false;
                self.deliver();
            }
            IrqAction::Trigger => self.raise(),
        }
    }

    fn connect(&mut self, event: Option<OwnedFd>) {
        self.event = event;
        self.deliver();
    }

    fn raise(&mut self) {
        self.pending = true;
        self.deliver();
    }

    fn deliver(&mut self) {
        if let Some(event) = self.event.as_ref().filter(|_| self.pending && !self.masked) {
            self.pending = false;
            // An eventfd that is full has been signalled, and what is none is the client's affair.
            let _ = write(event, &1u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
#[path = "vectors_test.rs"]
mod tests;
