// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a guest starts under any hosting: where its state was kept it goes on from there, and
//! else a boot leaves its state behind when it is ready for a command.

use crate::exit::chain;
use crate::footprint::PrivateDirty;
use crate::output::tell;
use crate::session::{Guest, Hold, RunEnd, SessionResult};
use crate::states::{State, StateError, Store};
use crate::stats::{Recorder, Sample};
use nix::sys::memfd::{MFdFlags, memfd_create};
use parking_lot::Mutex;
use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where the state of a machine is kept.
#[derive(Clone, Debug)]
pub struct Place {
    pub store: Store,
    pub name: String,
    /// The machine, for people.
    pub about: String,
    /// Whether somebody wants to know what is done.
    pub verbose: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Machine(Box<dyn Error + Send + Sync>),
    #[error("cannot tell how much memory the guest has taken")]
    Memory(#[from] io::Error),
    #[error("the guest stands still, and cannot go on")]
    Stuck(#[source] Box<dyn Error + Send + Sync>),
}

/// A machine that can stand still.
pub trait Still: Send {
    /// Has it stand still at a moment that its state can be of, writes what of it is not
    /// memory to a file at `path`, calls `then`, and has it go on.
    fn stand_still(
        self: Box<Self>,
        path: &Path,
        then: Box<dyn FnOnce() -> Result<(), StateError> + '_>,
    ) -> Result<(), KeepError>;
}

/// What is needed to keep a state.
pub struct Keeper {
    pub place: Place,
    /// The guest's memory.
    pub ram: File,
    pub machine: Box<dyn Still>,
}

/// A guest that boots, and may leave a state behind.
pub struct Booting<'a> {
    guest: &'a dyn Guest,
    keeper: Mutex<Option<Keeper>>,
}

impl Place {
    /// Goes on from the state, as `attempt` does it: what came of that, or why the state is
    /// no good. Nothing if there is none, or none that is good for anything: then it is removed.
    pub fn take_up<T, E>(
        &self,
        attempt: impl FnOnce(State) -> Result<Result<T, String>, E>,
    ) -> Result<Option<T>, E> {
        let Place { store, name, .. } = self;
        let why = match store.open(name) {
            Ok(None) => return Ok(None),
            Ok(Some(state)) => {
                self.say(&format!("taking up the state {name}"));
                match attempt(state)? {
                    Ok(done) => return Ok(Some(done)),
                    Err(why) => why,
                }
            }
            Err(error) => chain(&error),
        };
        self.say(&format!("the state {name} cannot be taken up: {why}"));
        if let Err(error) = store.remove(name) {
            self.say(&chain(&error));
        }
        Ok(None)
    }

    fn say(&self, line: &str) {
        if self.verbose {
            tell(&format!("farfault: {line}"));
        }
    }
}

/// Why a guest did not go on, if its end says so.
pub fn not_taken_up(result: &SessionResult) -> Option<String> {
    let failed =
        matches!(result.end, RunEnd::Lost(_) | RunEnd::NeverStarted(_) | RunEnd::Failed(_));
    (!result.started && failed).then(|| result.end.to_string())
}

impl<'a> Booting<'a> {
    pub fn new(guest: &'a dyn Guest, keeper: Option<Keeper>) -> Booting<'a> {
        Booting { guest, keeper: Mutex::new(keeper) }
    }

    /// Keeps the state. The run does not depend on that.
    fn keep(&self, keeper: Keeper) {
        let Place { name, verbose, .. } = keeper.place.clone();
        let kept = keeper.keep();
        let stuck = matches!(kept, Err(KeepError::Stuck(_)));
        let told = match kept {
            Ok(()) => format!("kept the state {name}"),
            Err(error) => format!("the state is not kept: {}", chain(&error)),
        };
        if stuck {
            self.guest.stop();
        }
        if verbose || stuck {
            tell(&format!("farfault: {told}"));
        }
    }
}

impl Guest for Booting<'_> {
    fn stop(&self) {
        self.guest.stop();
    }

    fn mark_started(&self) {
        self.guest.mark_started();
    }

    fn switch_off(&self) {
        self.guest.switch_off();
    }

    fn ready(&self) {
        if let Some(keeper) = self.keeper.lock().take() {
            self.keep(keeper);
        }
        self.guest.ready();
    }

    fn hold(&self) -> Hold {
        self.guest.hold()
    }

    fn last_seen(&self) -> Vec<String> {
        self.guest.last_seen()
    }

    fn counters(&self) -> Sample {
        self.guest.counters()
    }

    fn memory(&self) -> PrivateDirty {
        self.guest.memory()
    }
}

impl Keeper {
    fn keep(self) -> Result<(), KeepError> {
        let Keeper { place: Place { store, name, about, .. }, ram, machine } = self;
        let draft = store.draft(&name)?;
        store.make_room(ram.metadata()?.blocks() * 512)?;
        machine.stand_still(&draft.machine(), Box::new(|| draft.finish(&ram, &about)))
    }
}

/// Boots a guest as `attempt` does. One that is lost before its init is up is an accident of the
/// emulation, and is tried once more; nothing after that is.
pub fn boot<E>(
    recorder: &mut Recorder,
    mut attempt: impl FnMut(&mut Recorder) -> Result<SessionResult, E>,
) -> Result<SessionResult, E> {
    let first = attempt(recorder)?;
    if first.started || !matches!(first.end, RunEnd::Lost(_)) {
        return Ok(first);
    }
    recorder.retried();
    attempt(recorder)
}

/// Memory of a guest that can be read from here.
pub fn memory(bytes: u64) -> io::Result<File> {
    let memory = File::from(memfd_create(c"farfault-ram", MFdFlags::MFD_CLOEXEC)?);
    memory.set_len(bytes)?;
    Ok(memory)
}
