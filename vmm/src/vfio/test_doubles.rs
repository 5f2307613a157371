// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stand-ins for the host and for what a guest gives to a function, which write down together
//! what they are asked.

use super::function::{Passthrough, Surroundings, Survey};
use super::host::{HostFunction, Way};
use crate::mapping::Mapping;
use crate::pci::{AddressMap, DirectLine, DirectMessage, EventRegistry, MemoryRegistry, Message};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use vm_memory::MmapRegion;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Config(usize, Vec<u8>),
    ReadBar(usize, u64, usize),
    WriteBar(usize, u64, Vec<u8>),
    Raise(Way, usize),
    Silence(Way),
    Wait,
    Reset,
    Show(u64, u64),
    Hide(u64),
    Connect(usize, Message),
    Disconnect(usize),
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Told>>>);

impl Log {
    /// What has happened since the last call.
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock())
    }

    fn note(&self, told: Told) {
        self.0.lock().push(told);
    }
}

/// Where the capabilities of the fake function are.
pub const POWER: usize = 0x40;
pub const MSI: usize = 0x48;
pub const SLOT: usize = 0x60;
pub const MSIX: usize = 0x70;
pub const PCIE: usize = 0xa0;
pub const VENDOR: usize = 0xe0;

pub const VECTORS: usize = 3;
/// The table and the pending bits are in BAR 0.
pub const TABLE: u64 = 0x2000;
pub const PENDING: u64 = 0x2800;

/// BAR 0 has 32 bits and the MSI-X table, BAR 1 is for I/O, BAR 2 has 64 bits and is
/// prefetchable, BAR 4 is small.
pub const SIZES: [u64; 6] = [0x4000, 0x20, 8 << 30, 0, 0x80, 0];

/// The host's function.
pub struct Fake {
    pub log: Log,
    pub config: Mutex<Vec<u8>>,
    pub events: Mutex<Vec<EventFd>>,
    /// Interrupts that it can raise by MSI, and by a pin.
    pub msi: usize,
    pub pins: usize,
    pub refuses: Mutex<bool>,
    memory: File,
}

impl Fake {
    pub fn new() -> Fake {
        let memory = tempfile::tempfile().unwrap();
        memory.set_len(0x4000).unwrap();
        Fake {
            log: Log::default(),
            config: Mutex::new(config()),
            events: Mutex::default(),
            msi: 2,
            pins: 1,
            refuses: Mutex::new(false),
            memory,
        }
    }
}

/// What a device of the host has in its configuration space, with an extended capability that
/// is hidden and one that is not.
fn config() -> Vec<u8> {
    let mut config = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| config[at..][..bytes.len()].copy_from_slice(bytes);
    put(0x00, &[0x34, 0x12, 0x78, 0x56, 0x07, 0x04, 0x10, 0x00, 3, 2, 8, 1]);
    // Many functions, and a ROM.
    put(0x0e, &[0x80]);
    put(0x10, &0xfe00_0000u32.to_le_bytes());
    put(0x14, &0xc001u32.to_le_bytes());
    put(0x18, &0xcu32.to_le_bytes());
    put(0x30, &0xfd00_0001u32.to_le_bytes());
    put(0x2c, &[1, 0, 2, 0]);
    put(0x34, &[POWER as u8]);
    put(0x3c, &[11, 1, 0, 0]);
    put(POWER, &[0x01, MSI as u8, 3, 0, 8, 0]);
    // Two vectors, 64 bits, masks; enabled by the host.
    put(MSI, &[0x05, SLOT as u8, 0x83, 0x01]);
    put(SLOT, &[0x04, MSIX as u8, 0xee]);
    put(MSIX, &[0x11, PCIE as u8, VECTORS as u8 - 1, 0x80]);
    put(MSIX + 4, &(TABLE as u32).to_le_bytes());
    put(MSIX + 8, &(PENDING as u32).to_le_bytes());
    put(PCIE, &[0x10, VENDOR as u8, 0x02, 0, 0, 0, 0, 0x10]);
    put(PCIE + 0x0c, &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
    put(VENDOR, &[0x09, 0, 8, 0xab]);
    put(0x100, &(0x0010u32 | 1 << 16 | 0x140 << 20).to_le_bytes());
    put(0x140, &(0x0003u32 | 1 << 16).to_le_bytes());
    config
}

impl HostFunction for Fake {
    fn config_size(&self) -> usize {
        self.config.lock().len()
    }
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        data.copy_from_slice(&self.config.lock()[offset..][..data.len()]);
    }
    fn write_config(&self, offset: usize, data: &[u8]) {
        self.config.lock()[offset..][..data.len()].copy_from_slice(data);
        self.log.note(Told::Config(offset, data.to_vec()));
    }
    fn bar_size(&self, bar: usize) -> u64 {
        SIZES[bar]
    }
    fn mappable(&self, bar: usize) -> Vec<Range<u64>> {
        (bar == 0).then_some(0..SIZES[0]).into_iter().collect()
    }
    fn map(&self, _bar: usize, range: Range<u64>) -> io::Result<Mapping> {
        Mapping::of(&self.memory, range.start, range.end - range.start)
    }
    fn read_bar(&self, bar: usize, offset: u64, data: &mut [u8]) {
        data.fill(0x5a);
        self.log.note(Told::ReadBar(bar, offset, data.len()));
    }
    fn write_bar(&self, bar: usize, offset: u64, data: &[u8]) {
        self.log.note(Told::WriteBar(bar, offset, data.to_vec()));
    }
    fn interrupts(&self, way: Way) -> usize {
        match way {
            Way::Line => self.pins,
            Way::Msi => self.msi,
            Way::Msix => VECTORS,
        }
    }
    fn raise(&self, way: Way, events: &[&EventFd]) -> io::Result<()> {
        self.log.note(Told::Raise(way, events.len()));
        if *self.refuses.lock() {
            return Err(io::Error::other("no vectors"));
        }
        *self.events.lock() = events.iter().map(|event| event.try_clone().unwrap()).collect();
        Ok(())
    }
    fn silence(&self, way: Way) {
        self.log.note(Told::Silence(way));
        self.events.lock().clear();
    }
    fn wait_for(&self, _served: &EventFd) -> io::Result<()> {
        self.log.note(Told::Wait);
        Ok(())
    }
    fn reset(&self) {
        self.log.note(Told::Reset);
    }
}

/// What is shown to the guest, and doorbells, of which there are none.
struct Registry(Log);

impl MemoryRegistry for Registry {
    fn show(&self, memory: &Arc<Mapping>, address: u64) -> io::Result<()> {
        self.0.note(Told::Show(address, memory.size()));
        Ok(())
    }
    fn hide(&self, _memory: &Arc<Mapping>, address: u64) -> io::Result<()> {
        self.0.note(Told::Hide(address));
        Ok(())
    }
}

impl EventRegistry for Registry {
    fn attach(&self, _event: &EventFd, _address: u64) -> io::Result<()> {
        unreachable!("no doorbells")
    }
    fn detach(&self, _event: &EventFd, _address: u64) -> io::Result<()> {
        unreachable!("no doorbells")
    }
}

/// A message, and whether it can be sent.
struct Vector(Log, usize, EventFd);

impl DirectMessage for Vector {
    fn event(&self) -> &EventFd {
        &self.2
    }
    fn connect(&self, message: Message) -> io::Result<()> {
        self.0.note(Told::Connect(self.1, message));
        Ok(())
    }
    fn disconnect(&self) {
        self.0.note(Told::Disconnect(self.1));
    }
}

struct Line(EventFd, EventFd);

impl DirectLine for Line {
    fn event(&self) -> &EventFd {
        &self.0
    }
    fn served(&self) -> &EventFd {
        &self.1
    }
}

/// A function of the host in a guest's hands.
pub struct Rig {
    pub function: Passthrough,
    pub host: Arc<Fake>,
    pub log: Log,
    pub map: AddressMap,
}

/// Where firmware has put the BARs.
pub const BAR_0: u64 = 0xc000_0000;
pub const BAR_2: u64 = 16 << 30;
pub const BAR_4: u64 = 0xc100_0000;

impl Rig {
    pub fn new(host: Fake) -> Rig {
        let (log, host) = (host.log.clone(), Arc::new(host));
        let survey = Survey::new(Arc::clone(&host) as _);
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let vector = |index| Box::new(Vector(log.clone(), index, event())) as _;
        let surroundings = Surroundings {
            page: Arc::new(MmapRegion::new(4096).unwrap()),
            messages: (0..survey.vectors()).map(vector).collect(),
            line: survey.has_pin().then(|| Box::new(Line(event(), event())) as _),
        };
        let place = |bar: &crate::pci::Bar| match bar.index {
            0 => Some(BAR_0),
            2 => Some(BAR_2),
            4 => Some(BAR_4),
            _ => None,
        };
        let function = survey.pass("0000:01:00.0".to_owned(), surroundings, place);
        let registry = Arc::new(Registry(log.clone()));
        let map = AddressMap::new(Arc::clone(&registry) as _, registry);
        log.take();
        Rig { function, host, log, map }
    }
}
