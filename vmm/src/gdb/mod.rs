// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A port for a debugger, which speaks GDB's remote protocol: CPUs are its threads, addresses are
//! those of the CPU that it looks at.
//!
//! Breakpoints of every kind are the processor's own, of which there are four. An `int3` written
//! into the guest's code would not do: QEMU's nested SVM does not tell KVM of one.

mod client;
mod debuggee;
mod memory;
mod paging;
mod port;
mod registers;
mod server;
mod target;
mod traps;

#[cfg(test)]
#[path = "gdb_test.rs"]
mod tests;

pub use debuggee::{Action, Debuggee, Hit, Registers};
pub use port::{Invitation, Port, listen};
pub use server::serve;
pub use traps::Traps;
