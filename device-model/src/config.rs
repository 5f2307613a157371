// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be chosen about a device before it is made.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most engines a device can have.
pub const MAX_ENGINES: u32 = 16;
/// Most pages that one fault group may ask for.
pub const MAX_LOOKAHEAD: u32 = 4096;

/// The choices; [`DeviceConfig::default`] is a sensible device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceConfig {
    /// Engines, which run queues side by side: 1 to [`MAX_ENGINES`]. Each wants a thread.
    pub engines: u32,
    /// Most pages that one fault group asks for, the demanded one included: 1 to [`MAX_LOOKAHEAD`].
    pub lookahead: u32,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { engines: 2, lookahead: 256 }
    }
}

impl DeviceConfig {
    /// Checks that such a device can be made.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_ENGINES).contains(&self.engines) {
            return Err(ConfigError::Engines(self.engines));
        }
        if !(1..=MAX_LOOKAHEAD).contains(&self.lookahead) {
            return Err(ConfigError::Lookahead(self.lookahead));
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
    /// Too short or too long a lookahead.
    #[error("a fault group asks for 1 to {MAX_LOOKAHEAD} pages, not {0}")]
    Lookahead(u32),
}
