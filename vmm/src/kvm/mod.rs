// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest on this host's KVM, in this process.

mod handle;
mod keep;
mod shape;

use crate::exit::chain;
use crate::machine::{Blame, Handle, Machine, MachineError, MachineSpec, Start};
use crate::session::{Orders, Session, SessionResult, Task, connect};
use crate::starts::{self, Booting, Keeper, Place};
use crate::states::{State, Store};
use crate::stats::Recorder;
use std::io;
use std::path::PathBuf;

/// Orders that have room in any guest that was booted.
const SMALL: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("cannot hold a session with the guest")]
    Session(#[from] io::Error),
}

/// The guest, described.
#[derive(Debug)]
pub struct KvmGuest {
    pub spec: MachineSpec,
    pub orders: Orders,
    /// The folder of the image, if there is one.
    pub image: Option<PathBuf>,
    /// Where its state is kept, unless it shall be booted.
    pub states: Option<Store>,
    /// The machine, for people.
    pub about: String,
    pub verbose: bool,
}

/// What is left of a run.
pub struct Attended {
    pub result: SessionResult,
    /// For what the machine has counted.
    pub machine: Handle,
}

impl KvmGuest {
    /// Takes up its state or boots it, and holds the session with it.
    pub fn run(
        &self,
        session: &mut Session,
        recorder: &mut Recorder,
    ) -> Result<Attended, KvmError> {
        let Some(place) = self.place()? else {
            return attend(session, &self.spec, &Start::Boot, self.task(), None, recorder);
        };
        if self.spec.orders > SMALL {
            Machine::check(&self.spec)?;
        }
        if let Some(attended) = place.take_up(|state| self.go_on(state, session, recorder))? {
            return Ok(attended);
        }
        let start = Start::BootIn(starts::memory(self.spec.memory)?);
        attend(session, &self.spec, &start, self.task(), Some(place), recorder)
    }

    fn task(&self) -> Task {
        Task::Direct(self.orders.clone())
    }

    /// Where its state is kept, if it may have one.
    fn place(&self) -> Result<Option<Place>, KvmError> {
        let Some(store) = self.states.clone() else { return Ok(None) };
        let (name, about, verbose) = (self.shape()?, self.about.clone(), self.verbose);
        Ok(Some(Place { store, name, about, verbose }))
    }

    /// Goes on from a state; why that is no good, if so.
    fn go_on(
        &self,
        state: State,
        session: &mut Session,
        recorder: &mut Recorder,
    ) -> Result<Result<Attended, String>, KvmError> {
        let machine = match keep::read(&state.machine) {
            Ok(machine) => Box::new(machine),
            Err(error) => return Ok(Err(format!("its machine is none: {error}"))),
        };
        let (start, task) = (Start::GoOn(state.ram, machine), Task::Ready(self.orders.clone()));
        match attend(session, &self.spec, &start, task, None, recorder) {
            Ok(attended) => Ok(starts::not_taken_up(&attended.result).map_or(Ok(attended), Err)),
            // A boot does without the state, or says what the host lacks.
            Err(KvmError::Machine(error)) if error.blame() != Blame::User => Ok(Err(chain(&error))),
            Err(error) => Err(error),
        }
    }
}

/// Makes the machine that `spec` describes, and holds the session with it. Its state is kept at
/// `place`, if that is given; then its memory is in a file.
pub fn attend(
    session: &mut Session,
    spec: &MachineSpec,
    start: &Start,
    task: Task,
    place: Option<Place>,
    recorder: &mut Recorder,
) -> Result<Attended, KvmError> {
    let (ends, ports) = connect()?;
    let built = Machine::build(spec, ports, start)?;
    let machine = built.handle();
    let keeper = match (start, place) {
        (Start::BootIn(ram), Some(place)) => {
            let ram = ram.try_clone()?;
            Some(Keeper { place, ram, machine: Box::new(machine.clone()) })
        }
        _ => None,
    };
    let runner = Box::new(|| built.run().map_err(|error| chain(&error)));
    let guest = Booting::new(&machine, keeper);
    let result = session.attend(ends, task, &guest, runner, recorder)?;
    Ok(Attended { result, machine })
}
