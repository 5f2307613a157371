// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nested mode: without usable KVM, QEMU's TCG runs a first guest whose CPU
//! has SVM, and this very program runs there on its KVM.

mod child;
mod disk;
mod keep;
mod monitor;
mod pmem_bars;
mod qemu;
mod shape;
mod words;

use crate::archive::ArchiveError;
use crate::exit::chain;
use crate::machine::GuestStreams;
use crate::output::tell;
use crate::pmem::PmemError;
use crate::session::{Orders, RunEnd, Session, SessionResult, Task, connect};
use crate::states::{State, Store};
use crate::stats::Recorder;
use child::Child;
use disk::PackError;
pub use disk::{INNER_INITRD, INNER_KERNEL, InnerGuest};
use keep::{Booting, Keeper};
pub use pmem_bars::PmemBars;
pub use qemu::{Qemu, QemuError};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use words::{Inherited, Ram};

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
    /// The second guest's memory.
    pub guest_memory: u64,
    /// Its persistent memory.
    pub bars: PmemBars,
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
    BootAndKeep(&'a File, &'a Store, String),
    TakeUp(State),
}

impl FirstGuest {
    /// Takes up its state or boots it, and holds the session with it. A first guest that panics
    /// before its init is up is an accident of the emulation and is tried
    /// once more; nothing after that is.
    pub fn run(
        &self,
        session: &mut Session,
        recorder: &mut Recorder,
    ) -> Result<SessionResult, NestedError> {
        let pmem = self.bars.open()?;
        let kept = self.states.as_ref().zip(self.name()?);
        if let Some((store, name)) = &kept
            && let Some(result) = self.take_up(store, name, &pmem, session, recorder)?
        {
            return Ok(result);
        }
        let disk = disk::pack(&self.initrd, &self.inner)?;
        let start = || match &kept {
            Some((store, name)) => Start::BootAndKeep(&disk, store, name.clone()),
            None => Start::Boot(&disk),
        };
        let first = self.attempt(start(), &pmem, session, recorder)?;
        if first.started || !matches!(first.end, RunEnd::Lost(_)) {
            return Ok(first);
        }
        recorder.retried();
        self.attempt(start(), &pmem, session, recorder)
    }

    /// The name of its state, if it may have one. With persistent memory it has none: QEMU
    /// (11.1, `parse_ramblock()`) wants shared memory to be where it was before it takes up
    /// where BARs are.
    fn name(&self) -> io::Result<Option<String>> {
        let states = self.states.as_ref().filter(|_| self.bars.is_empty());
        states.map(|_| self.shape()).transpose()
    }

    /// Takes up the state of this name. Nothing if there is none, or none that is good for
    /// anything: then it is removed.
    fn take_up(
        &self,
        store: &Store,
        name: &str,
        pmem: &[File],
        session: &mut Session,
        recorder: &mut Recorder,
    ) -> Result<Option<SessionResult>, NestedError> {
        let why = match store.open(name) {
            Ok(None) => return Ok(None),
            Ok(Some(state)) => {
                self.say(&format!("taking up the state {name}"));
                let result = self.attempt(Start::TakeUp(state), pmem, session, recorder)?;
                let failed = |end: &RunEnd| {
                    matches!(end, RunEnd::Lost(_) | RunEnd::NeverStarted(_) | RunEnd::Failed(_))
                };
                if result.started || !failed(&result.end) {
                    return Ok(Some(result));
                }
                result.end.to_string()
            }
            Err(error) => chain(&error),
        };
        self.say(&format!("the state {name} cannot be taken up: {why}"));
        if let Err(error) = store.remove(name) {
            self.say(&chain(&error));
        }
        Ok(None)
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
        let takes_up = matches!(start, Start::TakeUp(_));
        let keeper = self.provide(start, &mut inherited, &mut bag)?;
        let mut command = self.qemu.command();
        command.args(self.arguments(&inherited));
        // The streams end with QEMU: ours are closed.
        let child = Child::start(command, bag.0)
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
            Start::BootAndKeep(disk, store, name) => {
                let (monitor, its) = UnixStream::pair()?;
                let ram = keep::memory(self.memory())?;
                inherited.disk = Some(bag.file(disk)?);
                inherited.ram = Some(Ram { path: bag.file(&ram)?, shared: true });
                inherited.monitor = Some(bag.socket(its));
                let (store, about) = (store.clone(), self.about.clone());
                return Ok(Some(Keeper {
                    store,
                    name,
                    about,
                    ram,
                    monitor,
                    verbose: self.verbose,
                }));
            }
            Start::TakeUp(state) => {
                inherited.ram = Some(Ram { path: bag.file(&state.ram)?, shared: false });
                inherited.state = Some(bag.file(&state.machine)?);
            }
        }
        Ok(None)
    }

    /// What is to be run, and where.
    fn task(&self, link: UnixStream, launched: bool) -> Result<Task, NestedError> {
        let orders = self.orders.clone();
        Ok(match self.inner.launch()? {
            None => Task::Direct(orders),
            Some(launch) => {
                let launch = if launched { None } else { Some(launch) };
                Task::InSecond { launch, orders, link }
            }
        })
    }

    fn say(&self, line: &str) {
        if self.verbose {
            tell(&format!("farfault: {line}"));
        }
    }
}

/// What a child inherits.
#[derive(Default)]
struct Bag(Vec<OwnedFd>);

impl Bag {
    /// Its descriptor's number.
    fn socket(&mut self, socket: UnixStream) -> String {
        let number = socket.as_raw_fd().to_string();
        self.0.push(socket.into());
        number
    }

    /// A path to it.
    fn file(&mut self, file: &File) -> io::Result<String> {
        let file = file.try_clone()?;
        let name = format!("/dev/fd/{}", file.as_raw_fd());
        self.0.push(file.into());
        Ok(name)
    }
}

#[cfg(test)]
#[path = "nested_test.rs"]
mod tests;
