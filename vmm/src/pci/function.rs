// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A PCI function: a configuration space, MSI-X, and the device behind them.
//! Here the guest's writes to the configuration space become what the device
//! must hear of (bus mastering, reset) and what the machine must (moved BARs).

use super::bar::{Backing, Bar, BarMove};
use super::config_space::ConfigSpace;
use super::msix::{Msix, SavedMsix};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Where BARs that are not decoded are: nowhere. Not a possible BAR address.
const NOWHERE: u64 = u64::MAX;

pub struct Function {
    config: Mutex<ConfigSpace>,
    bars: Vec<DecodedBar>,
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

/// A BAR and where it answers; what an MMIO access is looked up in.
struct DecodedBar {
    bar: Arc<Bar>,
    address: AtomicU64,
}

impl Function {
    pub fn new(
        config: ConfigSpace,
        msix: Option<Arc<Msix>>,
        device: Arc<dyn PciDevice>,
    ) -> Function {
        let nowhere =
            |bar: &Arc<Bar>| DecodedBar { bar: Arc::clone(bar), address: AtomicU64::new(NOWHERE) };
        let bars = config.bars().iter().map(nowhere).collect();
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
        self.bars.iter().filter_map(|decoded| decoded.follow(config)).collect()
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
        let Some((bar, offset)) = self.find(address) else { return false };
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
        let Some((bar, offset)) = self.find(address) else { return false };
        match (bar.at(offset).map(|area| (&area.backing, &area.range)), &self.msix) {
            (Some((Backing::MsixTable, range)), Some(msix)) => {
                msix.write(offset - range.start, data);
            }
            (Some(_), _) => self.device.write(bar.index, offset, data),
            (None, _) => {}
        }
        true
    }

    fn find(&self, address: u64) -> Option<(&Bar, u64)> {
        self.bars.iter().find_map(|DecodedBar { bar, address: base }| {
            let base = base.load(Ordering::Acquire);
            let offset = address.checked_sub(base)?;
            (base != NOWHERE && offset < bar.size).then_some((bar.as_ref(), offset))
        })
    }
}

impl DecodedBar {
    /// Answers where `config` says; the move, if it is one.
    fn follow(&self, config: &ConfigSpace) -> Option<BarMove> {
        let to = config.decoded(&self.bar);
        let from = self.address.swap(to.unwrap_or(NOWHERE), Ordering::AcqRel);
        let from = (from != NOWHERE).then_some(from);
        (from != to).then(|| BarMove { bar: Arc::clone(&self.bar), from, to })
    }
}
