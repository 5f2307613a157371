// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the workloads share: command lines, one-line summaries, children, memory
//! of every kind, and what the CPU makes of a command.
//!
//! A workload prints one line, its name and `key=value` pairs, and exits with 0
//! only if the CPU agrees with the device.

pub mod children;
pub mod marks;
pub mod memory;
pub mod options;
pub mod program;
pub mod random;
pub mod reference;
pub mod views;

/// A failure, told in one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
