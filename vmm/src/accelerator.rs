// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator in the machine: the one place that knows both the device
//! model and what KVM offers it. Registers trap to the model; doorbells come
//! through ioeventfds; messages leave through MSI-X; the model's loops get
//! threads.

use crate::iommu::Behind;
use crate::pci::{Area, Backing, Bar, Identity, MSIX_BYTES, Msix, PciDevice};
use crate::rate_limit::RateLimit;
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use farfault_abi::pci as abi;
use farfault_abi::regs::VERSION;
use farfault_device_model::{
    ConfigError, Counters, Device, DeviceConfig, Iommu, Platform, Refusal, SavedDevice,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

pub const VECTORS: u16 = abi::VECTORS as u16;
pub const IDENTITY: Identity = Identity {
    id: (abi::PCI_VENDOR as u16, abi::PCI_DEVICE as u16),
    subsystem: (abi::PCI_VENDOR as u16, abi::PCI_DEVICE as u16),
    class: abi::PCI_CLASS,
    revision: (VERSION >> 16) as u8,
};
const DOORBELLS: u64 = abi::DOORBELL_COMMAND as u64 + 1;

/// The device model in its place.
pub struct Accelerator {
    device: Arc<Device>,
    msix: Arc<Msix>,
    doorbells: Vec<Arc<EventFd>>,
    rung: AtomicU64,
    engines: u32,
}

/// The idle accelerator, as a value.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedAccelerator {
    device: SavedDevice,
    rung: u64,
}

impl Accelerator {
    /// Makes the device, behind `iommu` if there is one; no thread runs it yet.
    pub fn new(
        choices: &DeviceConfig,
        memory: Arc<GuestMemoryMmap>,
        iommu: Option<Arc<dyn Iommu>>,
        msix: Arc<Msix>,
    ) -> Result<Arc<Accelerator>, AcceleratorError> {
        let doorbells = (0..DOORBELLS)
            .map(|_| Ok(Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?)))
            .collect::<io::Result<_>>()?;
        let platform =
            MachineBelow { memory, iommu, msix: Arc::clone(&msix), log: RefusalLog::new() };
        Ok(Arc::new(Accelerator {
            device: Device::new(choices.clone(), Arc::new(platform))?,
            msix,
            doorbells,
            rung: AtomicU64::new(0),
            engines: choices.engines,
        }))
    }

    pub fn bars(&self) -> Vec<Bar> {
        bars(self.doorbells.clone())
    }

    /// What runs the device until [`Accelerator::stop`], each on a thread of its own.
    pub fn loops(&self) -> Vec<(String, Loop)> {
        loops(&self.device, self.engines)
    }

    pub fn stop(&self) {
        self.device.stop();
    }

    /// The accelerator as a value; none while it is at work. Neither the guest nor the event
    /// loop runs meanwhile.
    pub fn save(&self) -> Option<SavedAccelerator> {
        let device = self.device.save()?;
        Some(SavedAccelerator { device, rung: self.doorbells_rung() })
    }

    /// Makes a new accelerator what `saved` was.
    pub fn restore(&self, saved: &SavedAccelerator) -> Result<(), Refusal> {
        self.rung.store(saved.rung, Ordering::Relaxed);
        self.device.restore(&saved.device)
    }

    pub fn counters(&self) -> Counters {
        self.device.counters()
    }

    /// Doorbell writes that came without an exit.
    pub fn doorbells_rung(&self) -> u64 {
        self.rung.load(Ordering::Relaxed)
    }

    pub fn messages_sent(&self) -> u64 {
        self.msix.sent()
    }
}

pub type Loop = Box<dyn FnOnce() + Send>;

/// What runs a device until it is stopped, each on a thread of its own.
pub fn loops(device: &Arc<Device>, engines: u32) -> Vec<(String, Loop)> {
    let commands = Arc::clone(device);
    let mut loops: Vec<(String, Loop)> =
        vec![("commands".to_owned(), Box::new(move || commands.run_commands()))];
    for index in 0..engines {
        let device = Arc::clone(device);
        loops.push((format!("engine{index}"), Box::new(move || device.run_engine(index))));
    }
    loops
}

/// The device's BARs, with `events` for its doorbells, if they are not written.
pub fn bars(events: Vec<Arc<EventFd>>) -> Vec<Bar> {
    let table = u64::from(abi::MSIX_TABLE);
    let registers = vec![
        Area { range: 0..table, backing: Backing::Registers },
        Area { range: table..table + MSIX_BYTES, backing: Backing::MsixTable },
    ];
    let stride = abi::DOORBELL_STRIDE;
    let (range, backing) = (0..abi::BAR_DOORBELLS_SIZE, Backing::Doorbells { stride, events });
    let bar = |index: u32, size, areas| Bar::new(index as usize, size, areas);
    vec![
        bar(abi::BAR_REGISTERS, abi::BAR_REGISTERS_SIZE, registers),
        bar(abi::BAR_DOORBELLS, abi::BAR_DOORBELLS_SIZE, vec![Area { range, backing }]),
    ]
}

#[derive(Debug, thiserror::Error)]
pub enum AcceleratorError {
    #[error(transparent)]
    Choices(#[from] ConfigError),
    #[error("cannot make the doorbells' eventfds: {0}")]
    Events(#[from] io::Error),
}

impl PciDevice for Accelerator {
    fn read(&self, bar: usize, offset: u64, data: &mut [u8]) {
        PciDevice::read(&*self.device, bar, offset, data);
    }

    fn write(&self, bar: usize, offset: u64, data: &[u8]) {
        // Doorbells come this way only if they miss the start of a page, where the
        // ioeventfds are.
        PciDevice::write(&*self.device, bar, offset, data);
    }

    fn set_bus_master(&self, on: bool) {
        self.device.set_bus_master(on);
    }

    fn reset(&self) {
        self.device.reset();
    }
}

/// The model behind its BARs, without anything that a hosting makes faster.
impl PciDevice for Device {
    fn read(&self, bar: usize, offset: u64, data: &mut [u8]) {
        if bar == abi::BAR_REGISTERS as usize {
            Device::read(self, offset, data);
        } else {
            // Doorbells are for writing.
            data.fill(0xff);
        }
    }

    fn write(&self, bar: usize, offset: u64, data: &[u8]) {
        if bar == abi::BAR_REGISTERS as usize {
            Device::write(self, offset, data);
        } else {
            self.doorbell(offset / abi::DOORBELL_STRIDE);
        }
    }

    fn set_bus_master(&self, on: bool) {
        Device::set_bus_master(self, on);
    }

    fn reset(&self) {
        Device::reset(self);
    }
}

impl Behind for Accelerator {
    fn dma_changed(&self) {
        self.device.dma_changed();
    }
}

/// The machine as the device sees it.
struct MachineBelow {
    memory: Arc<GuestMemoryMmap>,
    iommu: Option<Arc<dyn Iommu>>,
    msix: Arc<Msix>,
    log: RefusalLog,
}

impl Platform for MachineBelow {
    fn memory(&self) -> Arc<GuestMemoryMmap> {
        Arc::clone(&self.memory)
    }

    fn iommu(&self) -> Option<Arc<dyn Iommu>> {
        self.iommu.clone()
    }

    fn signal(&self, vector: u16) {
        self.msix.signal(vector);
    }

    fn refused(&self, refusal: &Refusal) {
        self.log.tell(refusal);
    }
}

/// What the device has refused, on standard error, as much of it as anybody reads.
pub struct RefusalLog {
    begun: Instant,
    limit: Mutex<RateLimit>,
}

impl RefusalLog {
    pub fn new() -> Self {
        Self { begun: Instant::now(), limit: Mutex::default() }
    }

    pub fn tell(&self, refusal: &Refusal) {
        let Some(dropped) = self.limit.lock().admit(self.begun.elapsed()) else { return };
        let more = if dropped == 0 { String::new() } else { format!(" ({dropped} more before)") };
        // A standard error that takes nothing is no reason to end.
        let _ = writeln!(io::stderr(), "farfault: the device refused {refusal}{more}");
    }
}

/// Takes doorbells from the kernel to the device, on the event loop.
pub struct DoorbellLine(pub Arc<Accelerator>);

impl MutEventSubscriber for DoorbellLine {
    fn init(&mut self, ops: &mut EventOps) {
        for (page, event) in self.0.doorbells.iter().enumerate() {
            // Adding a fresh descriptor to a fresh loop cannot fail.
            let _ = ops.add(Events::with_data(event.as_ref(), page as u32, EventSet::IN));
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps) {
        let page = events.data();
        let event = self.0.doorbells.get(page as usize);
        // The value counts the writes since the last look.
        if let Some(Ok(count)) = event.map(|event| event.read()) {
            self.0.rung.fetch_add(count, Ordering::Relaxed);
            self.0.device.doorbell(page.into());
        }
    }
}
