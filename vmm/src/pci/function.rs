// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A PCI function: a configuration space, MSI-X, and the device behind them.
//! Here the guest's writes to the configuration space become what the device
//! must hear of: bus mastering, moved BARs, reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::config::{Bar, Config};
use super::msix::Msix;

/// What a device behind a function does. Every method can be called from any
/// vCPU at any time.
pub trait Device: Send + Sync {
    /// Reads `data.len()` bytes (1 to 8) at an offset of a BAR.
    fn read(&self, bar: usize, offset: u64, data: &mut [u8]);
    /// Writes bytes (1 to 8) at an offset of a BAR.
    fn write(&self, bar: usize, offset: u64, data: &[u8]);
    /// The device may access memory, or has to stop doing so before this returns.
    fn set_bus_master(&self, on: bool);
    /// A BAR answers at another address, or at none.
    fn moved(&self, bar: usize, address: Option<u64>);
    /// Function-level reset; bus mastering is already off.
    fn reset(&self);
}

/// Where BARs that are not decoded are: nowhere. Not a possible BAR address.
const NOWHERE: u64 = u64::MAX;

/// One function of the bus.
pub struct Function {
    config: Mutex<Config>,
    places: Vec<Place>,
    msix: Option<(usize, Arc<Msix>)>,
    device: Arc<dyn Device>,
}

/// A BAR and where it answers; what an MMIO access is looked up in.
struct Place {
    bar: Bar,
    address: AtomicU64,
}

impl Function {
    /// Puts a function together; `msix` comes with the BAR that holds its table.
    pub fn new(
        config: Config,
        msix: Option<(usize, Arc<Msix>)>,
        device: Arc<dyn Device>,
    ) -> Function {
        let place = |bar: &Bar| Place { bar: *bar, address: AtomicU64::new(NOWHERE) };
        let places = config.bars().iter().map(place).collect();
        Function { config: Mutex::new(config), places, msix, device }
    }

    /// Reads the configuration space.
    pub fn read_config(&self, offset: usize, data: &mut [u8]) {
        self.config.lock().read(offset, data);
    }

    /// Writes the configuration space and does what follows from it.
    pub fn write_config(&self, offset: usize, data: &[u8]) {
        // Held throughout, so that two vCPUs' writes take effect in the order
        // in which they were made. No device ever asks for this lock.
        let mut config = self.config.lock();
        let was_master = config.bus_master();
        let reset = config.write(offset, data);
        if reset {
            config.reset();
        }
        if config.bus_master() != was_master {
            self.device.set_bus_master(config.bus_master());
        }
        if reset {
            self.device.reset();
            if let Some((_, msix)) = &self.msix {
                msix.reset();
            }
        }
        self.follow(&config);
    }

    /// The device's BAR access at `address`, if it is one.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) -> bool {
        let Some((bar, offset)) = self.find(address) else { return false };
        match &self.msix {
            Some((msix_bar, msix)) if *msix_bar == bar => msix.read(offset, data),
            _ => self.device.read(bar, offset, data),
        }
        true
    }

    /// The device's BAR access at `address`, if it is one.
    pub fn write_memory(&self, address: u64, data: &[u8]) -> bool {
        let Some((bar, offset)) = self.find(address) else { return false };
        match &self.msix {
            Some((msix_bar, msix)) if *msix_bar == bar => msix.write(offset, data),
            _ => self.device.write(bar, offset, data),
        }
        true
    }

    fn follow(&self, config: &Config) {
        if let Some((_, msix)) = &self.msix {
            let (enabled, all_masked) = config.msix_control();
            msix.configure(enabled, all_masked, config.bus_master());
        }
        for place in &self.places {
            let address = config.decoded(&place.bar);
            let new = address.unwrap_or(NOWHERE);
            if place.address.swap(new, Ordering::AcqRel) != new {
                self.device.moved(place.bar.index, address);
            }
        }
    }

    fn find(&self, address: u64) -> Option<(usize, u64)> {
        self.places.iter().find_map(|place| {
            let base = place.address.load(Ordering::Acquire);
            let offset = address.checked_sub(base)?;
            (base != NOWHERE && offset < place.bar.size).then_some((place.bar.index, offset))
        })
    }
}
