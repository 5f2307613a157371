// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A PCI function: a configuration space, MSI-X, and the device behind them.
//! Here the guest's writes to the configuration space become what the device
//! must hear of (bus mastering, reset) and what the machine must (moved BARs).

use super::address_map::AddressMap;
use super::bar::{Backing, BarMove};
use super::config_space::ConfigSpace;
use super::decoded::DecodedBars;
use super::msix::{Msix, SavedMsix};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a device behind a function does. Every method can be called from any
/// vCPU at any time.
pub trait PciDevice: Send + Sync {
    /// Reads `data.len()` bytes (1 to 8) at an offset of a BAR.
    fn read(&self, bar: usize, offset: u64, data: &mut [u8]);
    /// Writes bytes (1 to 8) at an offset of a BAR.
    fn write(&self, bar: usize, offset: u64, data: &[u8]);
    /// The device may access memory, or has to stop doing so before this returns.
    fn set_bus_master(&self, on: bool);
    /// Function-level reset; bus mastering is already off.
    fn reset(&self);
}

/// A function as the bus sees it: one of ours, with a device behind it, or one of the host's.
/// Every method can be called from any vCPU at any time.
pub trait PciFunction: Send + Sync {
    /// Reads its configuration space.
    fn read_config(&self, offset: usize, data: &mut [u8]);
    /// Writes it; `map` follows the BARs that move by that.
    fn write_config(&self, offset: usize, data: &[u8], map: &mut AddressMap);
    /// Reads the BAR at `address`; says whether it has one there.
    fn read_memory(&self, address: u64, data: &mut [u8]) -> bool;
    /// Writes the BAR at `address`; says whether it has one there.
    fn write_memory(&self, address: u64, data: &[u8]) -> bool;
    /// Its state, if it has one that can be kept.
    fn save(&self) -> Option<SavedFunction>;
    /// Makes a new function what `saved` was, as if the guest had written all of its
    /// configuration space; says whether that was one like it.
    fn restore(&self, saved: &SavedFunction, map: &mut AddressMap) -> bool;
}

/// A function with a device of ours.
pub struct Function {
    config: Mutex<ConfigSpace>,
    bars: DecodedBars,
    msix: Option<Arc<Msix>>,
    device: Arc<dyn PciDevice>,
}

/// A function as a value, without the device behind it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedFunction {
    config: Vec<u8>,
    msix: Option<SavedMsix>,
}

/// Bytes of a configuration space that a guest can write some of.
const HEADER_AND_CAPABILITIES: usize = 256;

impl Function {
    pub fn new(
        config: ConfigSpace,
        msix: Option<Arc<Msix>>,
        device: Arc<dyn PciDevice>,
    ) -> Function {
        let bars = DecodedBars::new(config.bars());
        Function { config: Mutex::new(config), bars, msix, device }
    }

    pub fn read_config(&self, offset: usize, data: &mut [u8]) {
        self.config.lock().read(offset, data);
    }

    /// Writes the configuration space and does what follows from it here; what
    /// follows elsewhere is returned.
    #[must_use]
    pub fn write_config(&self, offset: usize, data: &[u8]) -> Vec<BarMove> {
        // Held throughout, so that two vCPUs' writes take effect in the order
        // in which they were made. No device ever asks for this lock.
        let mut config = self.config.lock();
        let was_master = config.bus_master();
        let reset = config.write(offset, data);
        if reset {
            config.reset();
        }
        self.follow(&config, was_master, reset)
    }

    /// Resets the function as its driver may by writing the configuration space.
    pub fn reset(&self) -> Vec<BarMove> {
        let mut config = self.config.lock();
        let was_master = config.bus_master();
        config.reset();
        self.follow(&config, was_master, true)
    }

    /// Tells whom it concerns what the configuration space says now.
    fn follow(&self, config: &ConfigSpace, was_master: bool, reset: bool) -> Vec<BarMove> {
        if config.bus_master() != was_master {
            self.device.set_bus_master(config.bus_master());
        }
        if reset {
            self.device.reset();
        }
        if let Some(msix) = &self.msix {
            if reset {
                msix.reset();
            }
            let (enabled, all_masked) = config.msix_control();
            msix.configure(enabled, all_masked, config.bus_master());
        }
        self.bars.follow(|bar, _| config.decoded(bar))
    }

    pub fn save(&self) -> SavedFunction {
        let mut config = vec![0; HEADER_AND_CAPABILITIES];
        self.read_config(0, &mut config);
        SavedFunction { config, msix: self.msix.as_ref().map(|msix| msix.save()) }
    }

    /// Makes a new function what `saved` was, as if the guest had written all of its
    /// configuration space; none if that was another one.
    pub fn restore(&self, saved: &SavedFunction) -> Option<Vec<BarMove>> {
        let fits = match (&self.msix, &saved.msix) {
            (Some(msix), Some(saved)) => msix.restore(saved),
            (None, None) => true,
            _ => false,
        };
        fits.then(|| self.write_config(0, &saved.config))
    }

    /// The device's BAR access at `address`, if it is one.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) -> bool {
        let Some((bar, offset)) = self.bars.find(address) else { return false };
        match (bar.at(offset).map(|area| (&area.backing, &area.range)), &self.msix) {
            (Some((Backing::MsixTable, range)), Some(msix)) => {
                msix.read(offset - range.start, data);
            }
            (Some(_), _) => self.device.read(bar.index, offset, data),
            (None, _) => data.fill(0xff),
        }
        true
    }

    /// The device's BAR access at `address`, if it is one.
    pub fn write_memory(&self, address: u64, data: &[u8]) -> bool {
        let Some((bar, offset)) = self.bars.find(address) else { return false };
        match (bar.at(offset).map(|area| (&area.backing, &area.range)), &self.msix) {
            (Some((Backing::MsixTable, range)), Some(msix)) => {
                msix.write(offset - range.start, data);
            }
            (Some(_), _) => self.device.write(bar.index, offset, data),
            (None, _) => {}
        }
        true
    }
}

impl PciFunction for Function {
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        self.read_config(offset, data);
    }

    fn write_config(&self, offset: usize, data: &[u8], map: &mut AddressMap) {
        map.follow(&self.write_config(offset, data));
    }

    fn read_memory(&self, address: u64, data: &mut [u8]) -> bool {
        self.read_memory(address, data)
    }

    fn write_memory(&self, address: u64, data: &[u8]) -> bool {
        self.write_memory(address, data)
    }

    fn save(&self) -> Option<SavedFunction> {
        Some(self.save())
    }

    fn restore(&self, saved: &SavedFunction, map: &mut AddressMap) -> bool {
        self.restore(saved).map(|moves| map.follow(&moves)).is_some()
    }
}
