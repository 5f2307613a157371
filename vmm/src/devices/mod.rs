// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The devices every machine has: the serial line, the registers that switch
//! it off, and a virtio console for the guest's byte streams. A device
//! *returns* what should happen to the machine; it never reaches up.

pub mod panic;
mod ports;
pub mod power;
pub mod serial;
mod stream;
pub mod virtio;

pub use ports::{PortBus, PowerRequest};
