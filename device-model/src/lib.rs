// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator as a pure library: no KVM, no system calls, no unsafe code.
//!
//! [`Device`] is the PCI function behind its BARs; [`Platform`] is the machine
//! it sits in. Time, threads and randomness come from outside.

#![forbid(unsafe_code)]

mod access;
mod access_counters;
mod atomic;
mod command_queue;
mod config;
mod counters;
mod device;
mod dma;
mod engine;
mod exec;
mod fault_queue;
mod faulty;
mod gate;
mod log;
mod lookahead;
mod mmu;
#[cfg(all(test, loom))]
mod models;
mod platform;
mod queue;
mod ram;
mod refusal;
mod registers;
mod ring;
mod saved;
mod scheduler;
mod section;
mod shared;
mod space;
mod sync;
mod tlb;
mod vram;
mod walk;

pub use config::{
    ConfigError, DeviceConfig, MAX_ENGINES, MAX_LOOKAHEAD, MAX_TLB, MAX_VRAM, MIN_TLB,
};
pub use counters::Counters;
pub use device::Device;
pub use dma::{DmaFault, Mapping, Permits, Stretch};
pub use engine::{Attachment, Engine, Step};
pub use platform::{Iommu, Platform};
pub use refusal::{Refusal, RefusalCause};
pub use saved::SavedDevice;
