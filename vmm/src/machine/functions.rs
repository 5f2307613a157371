// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Putting PCI functions on bus 0: a configuration space, which of our own the guest
//! can read without an exit, a place for each BAR, interrupts and doorbells.

use super::error::MachineError;
use super::interrupts::Interrupts;
use super::{layout, memory};
use crate::accelerator::{self, Accelerator};
use crate::devices::virtio::console::{self, Console};
use crate::devices::virtio::transport::{self, Transport};
use crate::iommu::{IommuPort, Unit};
use crate::pci::{
    Bar, ConfigSpace, DirectLine, Endpoint, Function, HostBridge, Identity, Msix, PciFunction, Root,
};
use crate::vfio::{Container, Found, Surroundings, Survey};
use farfault_device_model::DeviceConfig;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use vm_allocator::{AddressAllocator, AllocPolicy};
use vm_memory::{GuestMemoryMmap, MmapRegion};

/// Device numbers.
const HOST_BRIDGE: u8 = 0;
const ACCELERATOR: u8 = 1;
const CONSOLE: u8 = 2;
/// [`MAX_PASSED_THROUGH`](super::spec::MAX_PASSED_THROUGH) of them fit on the bus.
const FIRST_PASSED_THROUGH: u8 = 3;

/// Pins of the I/O APIC that nothing else uses, for functions of the host.
const FIRST_PIN: u32 = 16;
const PINS: u32 = 8;

/// A device that interrupts by a pin of the I/O APIC.
#[derive(Clone, Copy, Debug)]
pub struct IntxLine {
    pub device: u8,
    pub pin: u32,
}

/// What comes of it: the bus, configuration spaces with the addresses at which the guest may read
/// them, and who interrupts by which pin.
pub struct Finished {
    pub root: Root,
    pub pages: Vec<(u64, Arc<MmapRegion>)>,
    pub lines: Vec<IntxLine>,
}

/// The functions of bus 0, while they are being made.
pub struct Functions {
    interrupts: Arc<Interrupts>,
    memory: Arc<GuestMemoryMmap>,
    window: AddressAllocator,
    functions: Vec<(u8, Arc<dyn PciFunction>)>,
    lines: Vec<IntxLine>,
    pages: Vec<(u64, Arc<MmapRegion>)>,
}

impl Functions {
    /// A bus with nothing but its host bridge.
    pub fn new(
        memory: &Arc<GuestMemoryMmap>,
        interrupts: &Arc<Interrupts>,
    ) -> Result<Functions, MachineError> {
        let window = layout::PCI_WINDOW_32;
        let window = AddressAllocator::new(window.start, window.end - window.start)
            .map_err(|_| MachineError::Internal("there is no window for BARs"))?;
        let mut bus = Functions {
            interrupts: Arc::clone(interrupts),
            memory: Arc::clone(memory),
            window,
            functions: Vec::new(),
            lines: Vec::new(),
            pages: Vec::new(),
        };
        let config = bus.config(HOST_BRIDGE, &HostBridge::IDENTITY, Vec::new())?;
        bus.add(HOST_BRIDGE, Function::new(config, None, Arc::new(HostBridge)));
        Ok(bus)
    }

    /// Adds the accelerator, behind `iommu` if there is one.
    pub fn add_accelerator(
        &mut self,
        choices: &DeviceConfig,
        iommu: Option<&Arc<Unit>>,
    ) -> Result<Arc<Accelerator>, MachineError> {
        // Bus 0, this device, function 0.
        let port = |unit: &Arc<Unit>| {
            Arc::new(IommuPort::new(Arc::clone(unit), u16::from(ACCELERATOR) << 3)) as _
        };
        let msix = self.msix(accelerator::VECTORS)?;
        let memory = Arc::clone(&self.memory);
        let device = Accelerator::new(choices, memory, iommu.map(port), Arc::clone(&msix))?;
        let mut config = self.config(ACCELERATOR, &accelerator::IDENTITY, device.bars())?;
        config.add_pcie(Endpoint::Integrated);
        config.add_msix(msix.vectors());
        self.add(ACCELERATOR, Function::new(config, Some(msix), Arc::clone(&device) as _));
        Ok(device)
    }

    /// Adds the console with its ports.
    pub fn add_console(
        &mut self,
        ports: Vec<(&'static str, UnixStream)>,
    ) -> Result<Console, MachineError> {
        let what = "make the console";
        let msix = self.msix(transport::VECTORS)?;
        let memory = Arc::clone(&self.memory);
        let transport = console::transport(ports.len(), memory, Arc::clone(&msix));
        let transport = transport.map_err(MachineError::host(what))?;
        let mut config = self.config(CONSOLE, &Transport::CONSOLE, transport.bars())?;
        transport.add_capabilities(&mut config);
        config.add_msix(msix.vectors());
        self.add(CONSOLE, Function::new(config, Some(msix), Arc::clone(&transport) as _));
        Console::new(transport, ports).map_err(MachineError::host(what))
    }

    /// Adds functions of the host.
    pub fn add_passed_through(
        &mut self,
        container: &Container,
        all: &[Found],
    ) -> Result<(), MachineError> {
        let opened = container.open(all)?;
        for (device, (found, host)) in (FIRST_PASSED_THROUGH..).zip(all.iter().zip(opened)) {
            let survey = Survey::new(Arc::new(host));
            let messages = (0..survey.vectors()).map(|_| self.interrupts.direct_message());
            let messages = messages.collect::<Result<_, _>>()?;
            let line = survey.has_pin().then(|| self.line_of(device)).transpose()?;
            let page = memory::config_page()?;
            let surroundings = Surroundings { page, messages, line };
            let name = found.address.to_string();
            let function = survey.pass(name, surroundings, |bar| self.room_for(bar));
            self.add(device, function);
        }
        Ok(())
    }

    /// The pin of a device.
    fn line_of(&mut self, device: u8) -> Result<Box<dyn DirectLine>, MachineError> {
        let pin = FIRST_PIN + self.lines.len() as u32 % PINS;
        let line = self.interrupts.direct_line(pin)?;
        self.lines.push(IntxLine { device, pin });
        Ok(line)
    }

    /// The finished bus.
    pub fn finish(self) -> Finished {
        Finished { root: Root::new(self.functions), pages: self.pages, lines: self.lines }
    }

    fn add(&mut self, device: u8, function: impl PciFunction + 'static) {
        self.functions.push((device, Arc::new(function)));
    }

    /// A configuration space whose BARs are where firmware would put them.
    fn config(
        &mut self,
        device: u8,
        identity: &Identity,
        bars: Vec<Bar>,
    ) -> Result<ConfigSpace, MachineError> {
        let page = memory::config_page()?;
        self.pages.push((layout::ECAM + (u64::from(device) << 15), Arc::clone(&page)));
        let mut config = ConfigSpace::new(page, identity, bars);
        for bar in config.bars().to_vec() {
            let place = self.room_for(&bar);
            config.place(
                bar.index,
                place.ok_or(MachineError::Internal("BARs outgrow their window"))?,
            );
        }
        Ok(config)
    }

    /// Where firmware would put a BAR. It leaves it to the guest to find a place for one that is
    /// too large.
    fn room_for(&mut self, bar: &Bar) -> Option<u64> {
        // Each begins a page, so that its memory can be shown to the guest.
        let alignment = bar.size.max(layout::PAGE);
        let place = self.window.allocate(alignment, alignment, AllocPolicy::FirstMatch);
        place.ok().map(|place| place.start())
    }

    fn msix(&self, vectors: u16) -> Result<Arc<Msix>, MachineError> {
        let sinks = (0..vectors).map(|_| self.interrupts.vector());
        Ok(Arc::new(Msix::new(sinks.collect::<Result<_, _>>()?)))
    }
}
