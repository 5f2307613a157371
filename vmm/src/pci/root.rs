// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The root bus: finds the function that an access is for.

use super::address_map::AddressMap;
use super::config_space::Identity;
use super::function::{PciDevice, PciFunction, SavedFunction};
use std::sync::Arc;

/// Bus 0 with its devices, one function each.
pub struct Root {
    functions: Vec<(u8, Arc<dyn PciFunction>)>,
}

impl Root {
    /// A bus with functions at the given device numbers.
    pub fn new(functions: Vec<(u8, Arc<dyn PciFunction>)>) -> Root {
        Root { functions }
    }

    /// Reads the ECAM window. Where no function is, all bits read as one.
    pub fn read_config(&self, offset: u64, data: &mut [u8]) {
        match self.at(offset) {
            Some(function) => function.read_config(register(offset), data),
            None => data.fill(0xff),
        }
    }

    /// Writes the ECAM window; `map` follows the BARs that move by that.
    pub fn write_config(&self, offset: u64, data: &[u8], map: &mut AddressMap) {
        if let Some(function) = self.at(offset) {
            function.write_config(register(offset), data, map);
        }
    }

    /// The bus, if the state of each function can be kept.
    pub fn save(&self) -> Option<Vec<SavedFunction>> {
        self.functions.iter().map(|(_, function)| function.save()).collect()
    }

    /// Makes a new bus what `saved` was; says whether that was one like it.
    pub fn restore(&self, saved: &[SavedFunction], map: &mut AddressMap) -> bool {
        let mut pairs = self.functions.iter().zip(saved);
        self.functions.len() == saved.len()
            && pairs.all(|((_, function), saved)| function.restore(saved, map))
    }

    /// Reads the BAR at `address`; says whether there is one.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) -> bool {
        self.functions.iter().any(|(_, function)| function.read_memory(address, data))
    }

    /// Writes the BAR at `address`; says whether there is one.
    pub fn write_memory(&self, address: u64, data: &[u8]) -> bool {
        self.functions.iter().any(|(_, function)| function.write_memory(address, data))
    }

    fn at(&self, offset: u64) -> Option<&dyn PciFunction> {
        let device_and_function = offset >> 12;
        let found = self.functions.iter();
        let mut found = found.filter(|(device, _)| u64::from(*device) << 3 == device_and_function);
        found.next().map(|(_, function)| function.as_ref())
    }
}

fn register(offset: u64) -> usize {
    (offset & 0xfff) as usize
}

/// What the guest finds at 00:00.0. It does nothing.
pub struct HostBridge;

impl HostBridge {
    /// A host bridge without a maker's quirks attached to its name.
    pub const IDENTITY: Identity =
        Identity { id: (0x1234, 0xfa00), subsystem: (0, 0), class: 0x06_0000, revision: 0 };
}

impl PciDevice for HostBridge {
    fn read(&self, _bar: usize, _offset: u64, data: &mut [u8]) {
        data.fill(0xff);
    }
    fn write(&self, _bar: usize, _offset: u64, _data: &[u8]) {}
    fn set_bus_master(&self, _on: bool) {}
    fn reset(&self) {}
}
