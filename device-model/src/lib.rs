// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator as a pure library: no KVM, no system calls, no unsafe code.
//!
//! [`Device`] is the PCI function behind its BARs; [`Platform`] is the machine
//! it sits in. Time, threads and randomness come from outside.

#![forbid(unsafe_code)]

mod config;
mod counters;
mod device;
mod platform;

pub use config::{Config, ConfigError, MAX_ENGINES, MAX_WINDOW};
pub use counters::Counters;
pub use device::Device;
pub use platform::Platform;
