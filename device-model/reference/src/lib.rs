// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A driver for the device model without a guest: the smallest program that does
//! what the kernel driver does. Tests, fuzzers and benchmarks of the model stand
//! on it. It panics when something goes wrong, as test code may.

#![forbid(unsafe_code)]

mod driver;
mod iommu;
mod machine;
mod oracle;
mod ring;
mod space;

pub use driver::{Answer, Bus, Driver, Queue, serve, settle, with_engines};
pub use iommu::Pages;
pub use machine::{FakeMachine, Frames, PAGE};
pub use oracle::Oracle;
pub use ring::RingPlace;
pub use space::{AddressSpace, HUGE, LARGE};
