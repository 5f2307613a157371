// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be chosen about a device before it is made.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most engines a device can have.
pub const MAX_ENGINES: u32 = 16;
/// Most pages that one fault group may ask for.
pub const MAX_LOOKAHEAD: u32 = 4096;
/// Fewest entries that a TLB can have.
pub const MIN_TLB: u32 = 128;
/// Most entries that a TLB can have.
pub const MAX_TLB: u32 = 1 << 16;
/// Most bytes of device memory.
pub const MAX_VRAM: u64 = 64 << 30;
/// What device memory is a multiple of.
const VRAM_UNIT: u64 = 2 << 20;

/// The choices; [`DeviceConfig::default`] is a sensible device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceConfig {
    /// Engines, which run queues side by side: 1 to [`MAX_ENGINES`]. Each wants a thread.
    pub engines: u32,
    /// Most pages that one fault group asks for, the demanded one included: 1 to [`MAX_LOOKAHEAD`].
    pub lookahead: u32,
    /// Entries for pages of 4 KiB of an engine's TLB, for reading and as many for writing: a power
    /// of two from [`MIN_TLB`] to [`MAX_TLB`]. It has an eighth of it for leaves of 2 MiB, and a
    /// 128th for those of 1 GiB.
    pub tlb: u32,
    /// Bytes of device memory: 0, or a multiple of 2 MiB up to [`MAX_VRAM`].
    pub vram: u64,
    /// Whether atomic operations are atomic to CPUs. If not, the driver has to take a page from the
    /// CPUs first.
    pub atomics: bool,
    /// To test drivers: the first copy that touches device memory and fails, as do all behind it,
    /// counted from 1; 0 if none does.
    pub failing_copies: u64,
    /// To test drivers: the copy that touches device memory and never ends; 0 if all do.
    pub stuck_copy: u64,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            engines: 2,
            lookahead: 256,
            tlb: 8192,
            vram: 0,
            atomics: true,
            failing_copies: 0,
            stuck_copy: 0,
        }
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
        if !(MIN_TLB..=MAX_TLB).contains(&self.tlb) || !self.tlb.is_power_of_two() {
            return Err(ConfigError::Tlb(self.tlb));
        }
        if self.vram > MAX_VRAM || !self.vram.is_multiple_of(VRAM_UNIT) {
            return Err(ConfigError::Vram(self.vram));
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
    /// A TLB of an impossible size.
    #[error("a TLB has {MIN_TLB} to {MAX_TLB} entries, a power of two, not {0}")]
    Tlb(u32),
    /// Device memory of an impossible size.
    #[error("device memory is a multiple of 2 MiB, at most {MAX_VRAM} bytes, not {0}")]
    Vram(u64),
    /// The host has no room for that much.
    #[error("this host has no room for {0} bytes of device memory")]
    NoRoom(u64),
}
