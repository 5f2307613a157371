// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stand-ins for what a function is connected to, which write down what they
//! are asked.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use vm_memory::MmapRegion;
use vmm_sys_util::eventfd::EventFd;

use super::{
    Bar, CONFIG_SIZE, Config, Device, EventRegistry, Function, Identity, Message, MessageSender,
    Msix,
};

pub const IDENTITY: Identity =
    Identity { id: (0x1234, 0x5678), subsystem: (0x1234, 1), class: 0x12_0000, revision: 3 };

/// A small BAR, one for MSI-X, and one that only fits above 4 GiB.
pub const BARS: [Bar; 3] = [
    Bar { index: 0, size: 0x4000, prefetchable: false },
    Bar { index: 2, size: 0x1000, prefetchable: false },
    Bar { index: 4, size: 8 << 30, prefetchable: true },
];

pub const VECTORS: u16 = 3;
pub const PENDING: u32 = 0x800;

/// What the sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Programmed(u16, Message),
    Sent(u16),
}

#[derive(Clone, Default)]
pub struct Sender(pub Arc<Mutex<Vec<Sent>>>);

impl Sender {
    /// What has happened since the last call.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock())
    }
}

impl MessageSender for Sender {
    fn program(&self, vector: u16, message: Message) {
        self.0.lock().push(Sent::Programmed(vector, message));
    }
    fn send(&self, vector: u16) {
        self.0.lock().push(Sent::Sent(vector));
    }
}

/// Which addresses have an event.
#[derive(Default)]
pub struct Registry {
    pub attached: Mutex<Vec<u64>>,
    /// An address that cannot have one.
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

/// What a device was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Read(usize, u64, usize),
    Write(usize, u64, Vec<u8>),
    BusMaster(bool),
    Moved(usize, Option<u64>),
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

impl Device for Recorder {
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
    fn moved(&self, bar: usize, address: Option<u64>) {
        self.0.lock().push(Told::Moved(bar, address));
    }
    fn reset(&self) {
        self.0.lock().push(Told::Reset);
    }
}

/// A fresh page.
pub fn page() -> Arc<MmapRegion> {
    Arc::new(MmapRegion::new(CONFIG_SIZE).unwrap())
}

/// A configuration space with everything in it.
pub fn config() -> Config {
    let mut config = Config::new(page(), &IDENTITY, &BARS);
    config.add_pcie();
    config.add_msix(VECTORS, 2, PENDING);
    config
}

/// A function, and what its device and its messages do.
pub fn function() -> (Function, Arc<Recorder>, Sender) {
    let (device, sender) = (Arc::new(Recorder::default()), Sender::default());
    let msix = Arc::new(Msix::new(VECTORS, PENDING.into(), Box::new(sender.clone())));
    let function = Function::new(config(), Some((2, msix)), Arc::clone(&device) as _);
    (function, device, sender)
}
