// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interrupts that the host's kernel takes from a device of its own to the guest, without this
//! process in between.

use super::msix::Message;
use std::io;
use vmm_sys_util::eventfd::EventFd;

/// An event that becomes a message.
pub trait DirectMessage: Send + Sync {
    /// What is raised.
    fn event(&self) -> &EventFd;
    /// From now on it becomes this message, also if it was raised before.
    fn connect(&self, message: Message) -> io::Result<()>;
    /// From now on it stays raised.
    fn disconnect(&self);
}

/// An event that asserts a line, until the guest says that it has served the interrupt.
pub trait DirectLine: Send + Sync {
    /// What is raised.
    fn event(&self) -> &EventFd;
    /// Is raised when the guest has said so.
    fn served(&self) -> &EventFd;
}
