// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be chosen about a device before it is made.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most engines a device can have.
pub const MAX_ENGINES: u32 = 16;
/// Most pages that one fault group may ask for.
pub const MAX_WINDOW: u32 = 4096;

/// The choices; [`DeviceConfig::default`] is a sensible device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceConfig {
    /// Engines, which run queues side by side: 1 to [`MAX_ENGINES`]. Each wants a thread.
    pub engines: u32,
    /// Most pages that one fault group asks for, the demanded one included: 1 to [`MAX_WINDOW`].
    pub window: u32,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { engines: 2, window: 256 }
    }
}

impl DeviceConfig {
    /// Checks that such a device can be made.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_ENGINES).contains(&self.engines) {
            return Err(ConfigError::Engines(self.engines));
        }
        if !(1..=MAX_WINDOW).contains(&self.window) {
            return Err(ConfigError::Window(self.window));
        }
        Ok(())
    }
}

/// Why a device cannot be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Too few or too many engines.
    #[error("a device has 1 to {MAX_ENGINES} engines, not {0}")]
    Engines(u32),
    /// Too small or too large a window.
    #[error("a fault group asks for 1 to {MAX_WINDOW} pages, not {0}")]
    Window(u32),
}
