// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device as its hosting sees it: BARs, bus mastering, reset, threads.

use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::counters::{Counters, Live};
use crate::platform::Platform;

/// The accelerator.
pub struct Device {
    counters: Live,
}

impl Device {
    /// Makes a device in `platform`, out of reset, with bus mastering off.
    pub fn new(config: Config, _platform: Arc<dyn Platform>) -> Result<Arc<Self>, ConfigError> {
        config.validate()?;
        Ok(Arc::new(Self { counters: Live::default() }))
    }

    /// Reads registers (BAR 0); any offset and size is answered.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        let _ = self.counters.register(offset as u32);
    }

    /// Writes registers (BAR 0); any offset and size is answered.
    pub fn write(&self, _offset: u64, _data: &[u8]) {}

    /// A write to doorbell page `page` (BAR 4): of a user-mode queue, or the command queue's.
    pub fn doorbell(&self, _page: u64) {}

    /// Bus mastering as the configuration space has it; once it is off and this
    /// returns, no memory access of the device is in flight.
    pub fn set_bus_master(&self, _on: bool) {}

    /// Function-level reset; when it returns, no memory access is in flight.
    pub fn reset(&self) {}

    /// The body of the thread of engine `index`; returns after [`Device::stop`].
    pub fn run_engine(&self, _index: u32) {}

    /// The body of the command processor's thread; returns after [`Device::stop`].
    pub fn run_commands(&self) {}

    /// Ends the bodies of all threads.
    pub fn stop(&self) {}

    /// What has been counted since the last reset.
    pub fn counters(&self) -> Counters {
        self.counters.read()
    }
}
