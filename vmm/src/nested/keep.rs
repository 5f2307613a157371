// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A first guest whose guest is ready for a command: its state is kept before that comes.

use super::child::Child;
use super::monitor::{Monitor, MonitorError};
use crate::exit::chain;
use crate::session::Guest;
use crate::states::{Draft, StateError, Store};
use nix::sys::memfd::{MFdFlags, memfd_create};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    #[error("cannot tell how much memory the guest has taken")]
    Memory(#[from] io::Error),
    #[error("the guest stands still, and cannot go on")]
    Stuck(#[source] MonitorError),
}

/// What is needed to keep a state.
pub struct Keeper {
    pub store: Store,
    pub name: String,
    /// The machine, for people.
    pub about: String,
    /// The guest's memory.
    pub ram: File,
    pub monitor: UnixStream,
    /// Whether somebody wants to know what is done.
    pub verbose: bool,
}

/// A running first guest that may leave a state behind.
pub struct Booting<'a> {
    child: &'a Child,
    keeper: Mutex<Option<Keeper>>,
}

impl<'a> Booting<'a> {
    pub fn new(child: &'a Child, keeper: Option<Keeper>) -> Booting<'a> {
        Booting { child, keeper: Mutex::new(keeper) }
    }
}

impl Guest for Booting<'_> {
    fn stop(&self) {
        self.child.stop();
    }

    /// What it wrote is in our sockets and files by now.
    fn switch_off(&self) {
        self.child.stop();
    }

    /// Keeps the state. The run does not depend on that.
    fn ready(&self) {
        let Some(keeper) = self.keeper.lock().take() else { return };
        let (name, verbose) = (keeper.name.clone(), keeper.verbose);
        let kept = keeper.keep();
        let stuck = matches!(kept, Err(KeepError::Stuck(_)));
        let told = match kept {
            Ok(()) => format!("kept the state {name}"),
            Err(error) => format!("the state is not kept: {}", chain(&error)),
        };
        if stuck {
            self.child.stop();
        }
        if verbose || stuck {
            crate::output::tell(&format!("farfault: {told}"));
        }
    }
}

impl Keeper {
    fn keep(self) -> Result<(), KeepError> {
        let draft = self.store.draft(&self.name)?;
        self.store.make_room(self.ram.metadata()?.blocks() * 512)?;
        let mut monitor = Monitor::open(self.monitor)?;
        let kept = save(&mut monitor, draft, &self.ram, &self.about);
        monitor.go_on().map_err(KeepError::Stuck)?;
        kept
    }
}

/// Fills the draft with the state of a machine, which stands still then.
fn save(monitor: &mut Monitor, draft: Draft, ram: &File, about: &str) -> Result<(), KeepError> {
    monitor.stop_when_idle()?;
    monitor.save(&draft.machine())?;
    Ok(draft.finish(ram, about)?)
}

/// Memory of a guest that can be read from here.
pub fn memory(bytes: u64) -> io::Result<File> {
    let memory = File::from(memfd_create(c"farfault-ram", MFdFlags::MFD_CLOEXEC)?);
    memory.set_len(bytes)?;
    Ok(memory)
}
