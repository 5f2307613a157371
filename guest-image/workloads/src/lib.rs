// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest's programs share: command lines, one-line summaries, KTAP,
//! memory of every kind, and what the CPU makes of a command.
//!
//! A workload prints one line, its name and `key=value` pairs, and exits with 0
//! only if the CPU agrees with the device. A test program prints KTAP.

pub mod children;
pub mod counters;
pub mod dmirror;
pub mod file_mapping;
pub mod huge_page;
pub mod ktap;
pub mod marks;
pub mod memory;
pub mod options;
pub mod page_flags;
pub mod pagemap;
pub mod pins;
pub mod program;
pub mod random;
pub mod raw_queue;
pub mod reference;
pub mod reflink;
pub mod signals;
pub mod userfault;
pub mod views;

/// A failure, told in one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
