// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the programs that test inside a guest share, beside what they take from
//! the workloads: KTAP, counters, hostile queues, and what the kernel tells of pages.
//!
//! A test program prints KTAP.

use farfault_client::{Device, Queue};
pub use farfault_workloads::{Failure, children, marks, memory, options, program, random, views};

pub mod commands;
pub mod counters;
pub mod device_pages;
pub mod dmirror;
pub mod file_mapping;
pub mod huge_page;
pub mod kernel_files;
pub mod ktap;
pub mod page_flags;
pub mod pagemap;
pub mod pins;
pub mod raw_queue;
pub mod reflink;
pub mod setup;
pub mod signals;
pub mod silent_file;
pub mod sysfs;
pub mod userfault;

/// The device, and a queue of it that is long enough for most.
pub fn device_and_queue() -> Result<(Device, Queue), Failure> {
    let device = Device::open()?;
    let queue = device.queue(16)?;
    Ok((device, queue))
}
