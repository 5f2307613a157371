// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest that QEMU runs on this host, with the accelerator served from this process.
//!
//! QEMU keeps no state of a machine that has a device of another process. So it gets the device
//! when the guest is ready for a command: after its state was kept, or taken up.

mod guest;
mod shape;
mod words;

use crate::machine::{GuestStreams, Machine, MachineError, MachineSpec};
use crate::pmem::PmemError;
use crate::qemu::{Bag, Child, Monitor, Nvdimms, Qemu, Ram, Unreadable, Watched, concatenate};
use crate::serve::{Door, Inside};
use crate::session::{Guest, Orders, Session, SessionResult, Task, connect};
use crate::starts::{self, Booting, Keeper, Place};
use crate::states::{self, State, Store};
use crate::stats::{Recorder, Sample};
use guest::ServedGuest;
use nix::sys::memfd::{MFdFlags, memfd_create};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use words::Inherited;

#[derive(Debug, thiserror::Error)]
pub enum ServedError {
    #[error(transparent)]
    Initrd(#[from] Unreadable),
    #[error(transparent)]
    Pmem(#[from] PmemError),
    #[error("cannot start {}", .0.display())]
    Start(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("cannot connect the guest")]
    Connect(#[from] io::Error),
}

/// What emulates the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    Kvm,
    Tcg,
}

/// The machine and its guest, described.
#[derive(Debug)]
pub struct Served {
    pub qemu: Qemu,
    pub emulator: Emulator,
    /// The folder of the image, if there is one.
    pub image: Option<PathBuf>,
    pub spec: MachineSpec,
    /// Its persistent memory.
    pub nvdimms: Nvdimms,
    pub orders: Orders,
    /// Where its state is kept, unless it shall be booted.
    pub states: Option<Store>,
    /// The machine, for people.
    pub about: String,
    pub verbose: bool,
}

/// How a guest begins.
enum Start<'a> {
    /// With this initrd; its state is kept if it has a place.
    Boot(&'a File, Option<Place>),
    TakeUp(State),
}

impl Served {
    /// Takes up its state or boots it, and holds the session with it. What was counted up to its
    /// end is in `counted`.
    pub fn run(
        &self,
        session: &mut Session,
        recorder: &mut Recorder,
        counted: &mut Sample,
    ) -> Result<SessionResult, ServedError> {
        let pmem = self.nvdimms.open()?;
        let place = self.place().or_else(|error| self.check().and(Err(error)))?;
        let take_up = |state| {
            let result = self.attempt(Start::TakeUp(state), &pmem, session, recorder, counted)?;
            Ok::<_, ServedError>(starts::not_taken_up(&result).map_or(Ok(result), Err))
        };
        if let Some(result) = place.as_ref().map_or(Ok(None), |place| place.take_up(take_up))? {
            return Ok(result);
        }
        self.check()?;
        let disk = self.disk()?;
        starts::boot(recorder, |recorder| {
            self.attempt(Start::Boot(&disk, place.clone()), &pmem, session, recorder, counted)
        })
    }

    /// Checks all that can be checked without a boot.
    pub fn check(&self) -> Result<(), ServedError> {
        Ok(Machine::check(&self.spec)?)
    }

    /// Where its state is kept, if it may have one.
    fn place(&self) -> Result<Option<Place>, ServedError> {
        let Some(store) = self.states.clone() else { return Ok(None) };
        let (name, about, verbose) = (self.shape()?, self.about.clone(), self.verbose);
        Ok(Some(Place { store, name, about, verbose }))
    }

    /// The initrd, in an anonymous file.
    fn disk(&self) -> Result<File, ServedError> {
        let memory = memfd_create(c"farfault-initrd", MFdFlags::MFD_CLOEXEC);
        let mut disk = File::from(memory.map_err(io::Error::from)?);
        disk.write_all(&concatenate(&self.spec.initrd)?)?;
        Ok(disk)
    }

    fn attempt(
        &self,
        start: Start,
        pmem: &[File],
        session: &mut Session,
        recorder: &mut Recorder,
        counted: &mut Sample,
    ) -> Result<SessionResult, ServedError> {
        let (ends, ports) = connect()?;
        let GuestStreams { serial, stdin, stdout, stderr, control } = ports;
        let (monitor, its) = UnixStream::pair()?;
        let monitor = Arc::new(Mutex::new(Monitor::new(monitor)));
        let ram = starts::memory(self.spec.memory)?;
        let door = Door::new()?;
        let mut bag = Bag::default();
        let socket = bag.file(door.place())?;
        let mut inherited = Inherited {
            serial: bag.socket(serial),
            ports: [stdin, stdout, stderr, control].map(|port| bag.socket(port)).into(),
            monitor: bag.socket(its),
            ram: Some(Ram { path: bag.file(&ram)?, shared: true }),
            pmem: pmem.iter().map(|file| bag.file(file)).collect::<Result<_, _>>()?,
            ..Inherited::default()
        };
        let debuggers =
            self.spec.debugger.as_ref().and_then(|invitation| invitation.port.listener());
        inherited.debuggers = debuggers.map(|port| bag.port(port)).transpose()?;
        let state = match &start {
            Start::Boot(disk, _) => {
                inherited.disk = Some(bag.file(disk)?);
                None
            }
            Start::TakeUp(state) => {
                inherited.goes_on = true;
                Some(bag.file(&state.machine)?)
            }
        };
        let mut command = self.qemu.command();
        command.args(self.arguments(&inherited));
        // The streams end with QEMU: ours are closed.
        let child = Child::start(command, bag.into_inner(), self.spec.memory)
            .map_err(|error| ServedError::Start(self.qemu.path.clone(), error))?;
        if let Some(invitation) = &self.spec.debugger {
            invitation.announce();
        }
        let (keeper, task) = match start {
            Start::Boot(_, place) => {
                let keep =
                    |place| Keeper { place, ram, machine: Box::new(Watched(Arc::clone(&monitor))) };
                (place.map(keep), Task::Direct(self.orders.clone()))
            }
            Start::TakeUp(state) => {
                // The file itself, mapped privately, would not do: the device would not see what
                // the guest writes. QEMU comes up meanwhile.
                states::fill(&ram, &state.ram)?;
                (None, Task::Ready(self.orders.clone()))
            }
        };
        let undo = child.undo();
        let device = Inside::serve(door, &self.spec.device, move |why| undo.fail(why))?;
        let runner = child.runner();
        let guest = ServedGuest::new(&child, device, monitor, socket, state);
        let result = session.attend(ends, task, &Booting::new(&guest, keeper), runner, recorder);
        *counted = guest.counters();
        Ok(result?)
    }
}

#[cfg(test)]
#[path = "served_test.rs"]
mod tests;
