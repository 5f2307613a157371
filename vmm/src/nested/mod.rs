// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nested mode: without usable KVM, QEMU's TCG runs a first guest whose CPU
//! has SVM, and this very program runs there on its KVM.

mod disk;
mod shape;
mod words;

use crate::archive::ArchiveError;
use crate::machine::{GuestStreams, Machine, MachineError, MachineSpec};
use crate::pmem::PmemError;
use crate::qemu::{Bag, Child, Monitor, Nvdimms, Qemu, Ram, Watched};
use crate::session::{Orders, Session, SessionResult, Task, connect};
use crate::starts::{self, Booting, Keeper, Place};
use crate::states::{State, Store};
use crate::stats::Recorder;
use disk::PackError;
pub use disk::{INNER_INITRD, INNER_KERNEL, InnerGuest};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use words::Inherited;

#[derive(Debug, thiserror::Error)]
pub enum NestedError {
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error("cannot write the first guest's orders")]
    Orders(#[from] ArchiveError),
    #[error(transparent)]
    Pmem(#[from] PmemError),
    #[error("cannot start {}", .0.display())]
    Start(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("cannot connect the first guest")]
    Connect(#[from] io::Error),
}

/// The first guest, described.
#[derive(Debug)]
pub struct FirstGuest {
    pub qemu: Qemu,
    /// The folder of the image.
    pub image: PathBuf,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// What it carries for the second guest.
    pub inner: InnerGuest,
    /// The second guest, as far as runs that may go on from one state have the same.
    pub machine: String,
    /// The second guest's memory.
    pub guest_memory: u64,
    /// The second guest, which is tried on paper before it is booted.
    pub draft: Option<MachineSpec>,
    /// Its persistent memory.
    pub nvdimms: Nvdimms,
    /// Where debuggers of the second guest come.
    pub debuggers: Option<TcpListener>,
    /// What the guest that is meant is to run.
    pub orders: Orders,
    /// Where its state is kept, unless it shall be booted.
    pub states: Option<Store>,
    /// The machine, for people.
    pub about: String,
    pub verbose: bool,
}

/// How a first guest begins.
enum Start<'a> {
    Boot(&'a File),
    /// As before, and its state is kept when it is ready.
    BootAndKeep(&'a File, Place),
    TakeUp(State),
}

impl FirstGuest {
    /// Takes up its state or boots it, and holds the session with it.
    pub fn run(
        &self,
        session: &mut Session,
        recorder: &mut Recorder,
    ) -> Result<SessionResult, NestedError> {
        let pmem = self.nvdimms.open()?;
        let place = self.place().or_else(|error| self.check().and(Err(error.into())))?;
        let take_up = |state| {
            let result = self.attempt(Start::TakeUp(state), &pmem, session, recorder)?;
            Ok::<_, NestedError>(starts::not_taken_up(&result).map_or(Ok(result), Err))
        };
        if let Some(result) = place.as_ref().map_or(Ok(None), |place| place.take_up(take_up))? {
            return Ok(result);
        }
        self.check()?;
        let disk = disk::pack(&self.initrd, &self.inner)?;
        let start = || match &place {
            Some(place) => Start::BootAndKeep(&disk, place.clone()),
            None => Start::Boot(&disk),
        };
        starts::boot(recorder, |recorder| self.attempt(start(), &pmem, session, recorder))
    }

    /// Whatever is wrong with the second guest shows here, and not after a boot.
    pub fn check(&self) -> Result<(), NestedError> {
        Ok(self.draft.as_ref().map_or(Ok(()), Machine::check)?)
    }

    /// Where its state is kept, if it may have one.
    fn place(&self) -> io::Result<Option<Place>> {
        let Some(store) = self.states.clone() else {
            return Ok(None);
        };
        let (name, about, verbose) = (self.shape()?, self.about.clone(), self.verbose);
        Ok(Some(Place { store, name, about, verbose }))
    }

    fn attempt(
        &self,
        start: Start,
        pmem: &[File],
        session: &mut Session,
        recorder: &mut Recorder,
    ) -> Result<SessionResult, NestedError> {
        let (ends, ports) = connect()?;
        let (link, inner) = UnixStream::pair()?;
        let GuestStreams { serial, stdin, stdout, stderr, control } = ports;
        let mut bag = Bag::default();
        let mut inherited = Inherited {
            serial: bag.socket(serial),
            ports: [stdin, stdout, stderr, control, inner].map(|port| bag.socket(port)).into(),
            ..Inherited::default()
        };
        inherited.pmem = pmem.iter().map(|file| bag.file(file)).collect::<Result<_, _>>()?;
        inherited.debuggers = self.debuggers.as_ref().map(|port| bag.port(port)).transpose()?;
        let takes_up = matches!(start, Start::TakeUp(_));
        let keeper = self.provide(start, &mut inherited, &mut bag)?;
        let mut command = self.qemu.command();
        command.args(self.arguments(&inherited));
        // The streams end with QEMU: ours are closed.
        let child = Child::start(command, bag.into_inner(), self.memory())
            .map_err(|error| NestedError::Start(self.qemu.path.clone(), error))?;
        let runner = child.runner();
        let guest = Booting::new(&child, keeper);
        Ok(session.attend(ends, self.task(link, takes_up)?, &guest, runner, recorder)?)
    }

    /// What QEMU needs for this start; who keeps the state if that is to be.
    fn provide(
        &self,
        start: Start,
        inherited: &mut Inherited,
        bag: &mut Bag,
    ) -> io::Result<Option<Keeper>> {
        match start {
            Start::Boot(disk) => inherited.disk = Some(bag.file(disk)?),
            Start::BootAndKeep(disk, place) => {
                let (monitor, its) = UnixStream::pair()?;
                let ram = starts::memory(self.memory())?;
                inherited.disk = Some(bag.file(disk)?);
                inherited.ram = Some(Ram { path: bag.file(&ram)?, shared: true });
                inherited.monitor = Some(bag.socket(its));
                let monitor = Arc::new(Mutex::new(Monitor::new(monitor)));
                return Ok(Some(Keeper { place, ram, machine: Box::new(Watched(monitor)) }));
            }
            Start::TakeUp(state) => {
                inherited.ram = Some(Ram { path: bag.file(&state.ram)?, shared: false });
                inherited.state = Some(bag.file(&state.machine)?);
            }
        }
        Ok(None)
    }

    /// What is to be run, and where.
    fn task(&self, link: UnixStream, goes_on: bool) -> Result<Task, NestedError> {
        let orders = self.orders.clone();
        Ok(match (self.inner.launch()?, goes_on) {
            (None, false) => Task::Direct(orders),
            (None, true) => Task::Ready(orders),
            (Some(launch), false) => Task::InSecond { launch: Some(launch), orders, link },
            (Some(_), true) => Task::InSecond { launch: None, orders, link },
        })
    }
}

#[cfg(test)]
#[path = "nested_test.rs"]
mod tests;
