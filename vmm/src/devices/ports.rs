// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The I/O port space.

use std::sync::Arc;

/// What a write may ask of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerRequest {
    PowerOff,
    Reset,
    /// The guest's kernel panics.
    Panicked,
}

/// A device behind a range of I/O ports, which are counted from its first.
pub trait PortDevice: Send + Sync {
    fn read(&self, port: u16) -> u8;
    fn write(&self, port: u16, value: u8) -> Option<PowerRequest>;
}

/// Which device answers at which ports.
#[derive(Default)]
pub struct PortBus {
    devices: Vec<(u16, u16, Arc<dyn PortDevice>)>,
}

impl PortBus {
    /// Puts a device at `count` ports from `base`.
    pub fn add(&mut self, base: u16, count: u16, device: Arc<dyn PortDevice>) {
        self.devices.push((base, count, device));
    }

    /// Reads bytes from consecutive ports. Where nothing is, all bits read as one.
    pub fn read(&self, port: u16, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            let found = self.find(port, i);
            *byte = found.map_or(0xff, |(offset, device)| device.read(offset));
        }
    }

    /// Writes bytes to consecutive ports.
    pub fn write(&self, port: u16, data: &[u8]) -> Option<PowerRequest> {
        let asked = data.iter().enumerate().map(|(i, byte)| {
            let (offset, device) = self.find(port, i)?;
            device.write(offset, *byte)
        });
        asked.fold(None, |earlier, asked| asked.or(earlier))
    }

    fn find(&self, port: u16, index: usize) -> Option<(u16, &dyn PortDevice)> {
        let port = port.checked_add(u16::try_from(index).ok()?)?;
        self.devices.iter().find_map(|(base, count, device)| {
            let offset = port.checked_sub(*base)?;
            (offset < *count).then_some((offset, device.as_ref()))
        })
    }
}
