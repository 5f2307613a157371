// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU as a program that carries a guest: how it is found and called, what it inherits, and
//! what it is told while it runs.

mod arguments;
mod bag;
mod child;
mod initrd;
mod keep;
mod monitor;
mod nvdimms;
mod program;

pub use arguments::{Arguments, Ram};
pub use bag::Bag;
pub use child::Child;
pub use initrd::{Unreadable, concatenate};
pub use keep::Watched;
pub use monitor::{Monitor, MonitorError};
pub use nvdimms::Nvdimms;
pub use program::{Qemu, QemuError, RUNS_FIRST_GUESTS, SERVES_DEVICES, Version};
