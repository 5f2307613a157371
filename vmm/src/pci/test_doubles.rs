// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stand-ins for what a function is connected to, which write down what they
//! are asked.

use super::{
    AddressMap, Area, Backing, Bar, CONFIG_SIZE, ConfigSpace, Endpoint, EventRegistry, Function,
    Identity, MSIX_BYTES, MemoryRegistry, Message, MessageSink, Msix, PciDevice,
};
use crate::mapping::Mapping;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use vm_memory::MmapRegion;
use vmm_sys_util::eventfd::EventFd;

pub const IDENTITY: Identity =
    Identity { id: (0x1234, 0x5678), subsystem: (0x1234, 1), class: 0x12_0000, revision: 3 };

pub const VECTORS: u16 = 3;
/// Where the MSI-X table of the test function is in its first BAR.
pub const TABLE: u64 = 0x2000;

/// A small BAR with registers and MSI-X, and one that only fits above 4 GiB.
pub fn bars() -> Vec<Bar> {
    let large = 8 << 30;
    let areas = vec![
        Area { range: 0..0x1000, backing: Backing::Registers },
        Area { range: TABLE..TABLE + MSIX_BYTES, backing: Backing::MsixTable },
    ];
    let all = vec![Area { range: 0..large, backing: Backing::Registers }];
    vec![Bar::new(0, 0x4000, areas), Bar::new(4, large, all)]
}

/// What happened to a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Programmed(u16, Message),
    Sent(u16),
}

/// Where the messages of several vectors go.
#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<Sent>>>);

impl Sink {
    /// What has happened since the last call.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock())
    }

    /// One for each of `count` vectors.
    pub fn vectors(&self, count: u16) -> Vec<Box<dyn MessageSink>> {
        let vector = |number| Box::new(VectorSink(self.clone(), number)) as _;
        (0..count).map(vector).collect()
    }
}

struct VectorSink(Sink, u16);

impl MessageSink for VectorSink {
    fn program(&self, message: Message) {
        self.0.0.lock().push(Sent::Programmed(self.1, message));
    }
    fn send(&self) {
        self.0.0.lock().push(Sent::Sent(self.1));
    }
}

/// Which addresses have an event, and which a mapping.
#[derive(Default)]
pub struct Registry {
    pub attached: Mutex<Vec<u64>>,
    pub shown: Mutex<Vec<u64>>,
    /// An address that cannot have any.
    pub refused: Option<u64>,
}

impl EventRegistry for Registry {
    fn attach(&self, _event: &EventFd, address: u64) -> io::Result<()> {
        if self.refused == Some(address) {
            return Err(io::Error::other("refused"));
        }
        self.attached.lock().push(address);
        Ok(())
    }
    fn detach(&self, _event: &EventFd, address: u64) -> io::Result<()> {
        self.attached.lock().retain(|attached| *attached != address);
        Ok(())
    }
}

impl MemoryRegistry for Registry {
    fn show(&self, _memory: &Arc<Mapping>, address: u64) -> io::Result<()> {
        if self.refused == Some(address) {
            return Err(io::Error::other("refused"));
        }
        self.shown.lock().push(address);
        Ok(())
    }
    fn hide(&self, _memory: &Arc<Mapping>, address: u64) -> io::Result<()> {
        self.shown.lock().retain(|shown| *shown != address);
        Ok(())
    }
}

/// A map of addresses, and what it has done.
pub fn map() -> (AddressMap, Arc<Registry>) {
    let registry = Arc::new(Registry::default());
    (AddressMap::new(Arc::clone(&registry) as _, Arc::clone(&registry) as _), registry)
}

/// What a device was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Read(usize, u64, usize),
    Write(usize, u64, Vec<u8>),
    BusMaster(bool),
    Reset,
}

#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<Told>>);

impl Recorder {
    /// What has happened since the last call.
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock())
    }
}

impl PciDevice for Recorder {
    fn read(&self, bar: usize, offset: u64, data: &mut [u8]) {
        data.fill(0x5a);
        self.0.lock().push(Told::Read(bar, offset, data.len()));
    }
    fn write(&self, bar: usize, offset: u64, data: &[u8]) {
        self.0.lock().push(Told::Write(bar, offset, data.to_vec()));
    }
    fn set_bus_master(&self, on: bool) {
        self.0.lock().push(Told::BusMaster(on));
    }
    fn reset(&self) {
        self.0.lock().push(Told::Reset);
    }
}

pub fn page() -> Arc<MmapRegion> {
    Arc::new(MmapRegion::new(CONFIG_SIZE).unwrap())
}

/// A configuration space with everything in it.
pub fn config() -> ConfigSpace {
    let mut config = ConfigSpace::new(page(), &IDENTITY, bars());
    config.add_pcie(Endpoint::Integrated);
    config.add_msix(VECTORS);
    config
}

/// A function, and what its device and its messages do.
pub fn function() -> (Function, Arc<Recorder>, Sink) {
    let (device, sink) = (Arc::new(Recorder::default()), Sink::default());
    let msix = Arc::new(Msix::new(sink.vectors(VECTORS)));
    let function = Function::new(config(), Some(msix), Arc::clone(&device) as _);
    (function, device, sink)
}
