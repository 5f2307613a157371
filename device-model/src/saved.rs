// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An idle device, as a value. While no queue is enabled and no command waits, all that
//! it works with is in guest memory, and the device itself holds what the driver has written
//! to its registers.

use crate::counters::Counters;
use crate::registers::Registers;
use serde::{Deserialize, Serialize};

/// What [`crate::Device::save`] gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedDevice {
    pub(crate) registers: Registers,
    pub(crate) enabled: bool,
    pub(crate) errors: u32,
    pub(crate) counters: Counters,
}
