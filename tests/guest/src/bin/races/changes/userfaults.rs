// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages that are taken away and that a userfaultfd handler brings again.

use crate::arena::Backing;
use crate::kind::{Kind, SMALL, Set};
use crate::layout::STAMPS;
use crate::oracle::Ledger;
use crate::stage::{Change, Stage};
use farfault_guest_programs::ktap::Outcome;
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::userfault::{Mode, Userfault};
use farfault_guest_programs::{Failure, views};
use nix::errno::Errno;
use nix::libc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Those that processes do, too.
pub const MISSING: Kind = Kind::new("userfault", missing);

pub const KINDS: &[Kind] = &[MISSING];

fn missing(salt: u64) -> Result<Set, Failure> {
    let (last, userfault) = Userfault::missing(PAGE)?;
    // Until there is one that knows the arena.
    let no_change = |_: &mut Stage<'_>| Outcome::Ok(());
    let mut set = Set::new(salt, Backing::Brought, SMALL, no_change)?;
    userfault.register(set.arena.address(0, 0), SMALL * PAGE, Mode::Missing)?;
    let lock = Arc::new(Mutex::new(()));
    let handler = Handler {
        userfault,
        ledger: Arc::clone(&set.ledger),
        start: set.arena.address(0, 0),
        last: last.address(),
        lock: Arc::clone(&lock),
    };
    let handler = thread::spawn(move || handler.run());
    set.change = Box::new(Missing { lock, last, handler: Some(handler) });
    Ok(set)
}

/// Brings what is published, never what was before.
struct Handler {
    userfault: Userfault,
    ledger: Arc<Ledger>,
    start: u64,
    /// Whoever asks for this page wants the handler to end.
    last: u64,
    lock: Arc<Mutex<()>>,
}

impl Handler {
    fn run(&self) -> Result<(), Failure> {
        loop {
            let address = self.userfault.next()?;
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            let mut bytes = Bytes([0; PAGE]);
            if address != self.last {
                let stamp = self.ledger.stamp((address - self.start) as usize / PAGE);
                let words = views::words_mut(&mut bytes.0);
                STAMPS.iter().for_each(|&word| words[word] = stamp);
            }
            match self.userfault.bring(address, &bytes.0) {
                // Two asked for the same page.
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
            if address == self.last {
                return Ok(());
            }
        }
    }
}

#[repr(align(8))]
struct Bytes([u8; PAGE]);

/// MADV_DONTNEED; the handler may bring a page before or after, but not meanwhile,
/// as it would then bring what was.
struct Missing {
    lock: Arc<Mutex<()>>,
    last: Region,
    handler: Option<JoinHandle<Result<(), Failure>>>,
}

impl Change for Missing {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let pages = stage.choose();
        {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            stage.ledger.announce(pages.clone());
            stage.arena.advise(pages.clone(), libc::MADV_DONTNEED)?;
            stage.ledger.publish(pages.clone());
        }
        let page = stage.one_of(&pages);
        stage.read(0, page..page + 1)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let Some(handler) = self.handler.take() else { return Ok(()) };
        // Reading it asks for it.
        std::hint::black_box(self.last[0]);
        handler.join().map_err(|_| "the handler panicked")?
    }
}

impl Drop for Missing {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}
