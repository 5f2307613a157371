// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one source of truth for every number that the device, its driver and
//! guest programs share: registers, page-table entries, rings, descriptors,
//! commands, fault records and ioctls.
//!
//! The device model and the guest's Rust programs use these definitions
//! directly. The C driver and C programs use two headers that the program
//! `farfault-abi-headers` of this crate makes from them; see [`HARDWARE`] and
//! [`UAPI`]. Everything is little-endian.

#![no_std]
#![forbid(unsafe_code)]

pub mod command;
pub mod context;
pub mod describe;
pub mod descriptor;
pub mod fault;
pub mod pci;
pub mod pte;
pub mod regs;
pub mod ring;
pub mod uapi;

use describe::HeaderSection;

/// What driver and device share: the driver's hardware header.
pub const HARDWARE: &[HeaderSection] = &[
    pci::SECTION,
    regs::SECTION,
    context::SECTION,
    pte::SECTION,
    command::SECTION,
    fault::SECTION,
];

/// What programs share with the driver and, through queues, with the device.
pub const UAPI: &[HeaderSection] =
    &[ring::SECTION, fault::REASONS, descriptor::SECTION, uapi::SECTION];
