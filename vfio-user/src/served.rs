// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a device must do to be served.

use crate::request::{DmaMap, SetIrqs, Span};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// A region as it is described.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionInfo {
    /// Bytes; 0 if there is no such region.
    pub size: u64,
}

/// Interrupts of a kind as they are described.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IrqInfo {
    /// How many.
    pub count: u32,
}

/// A PCI device. Regions and kinds of interrupts have the numbers of `<linux/vfio.h>`.
/// Whatever comes in was checked against what it has said of itself.
pub trait Served {
    /// Whether the client can have the device. Asked when it wants it described: QEMU goes on
    /// after a map that was refused, and gives up cleanly here.
    fn admits(&self) -> Result<(), Errno>;
    /// The region `index`, below 9.
    fn region(&self, index: u32) -> RegionInfo;
    /// The interrupts of kind `index`, below 5.
    fn irqs(&self, index: u32) -> IrqInfo;
    /// Reads a region; all bytes are in it.
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]);
    /// Writes a region; all bytes are in it.
    fn write(&mut self, region: u32, offset: u64, data: &[u8]);
    /// Has the device reach memory, in a file if it is shared.
    fn map(&mut self, map: &DmaMap, file: Option<OwnedFd>) -> Result<(), Errno>;
    /// Takes away whatever is mapped in a range, which may be nothing. No access of the device
    /// to it is left when this returns.
    fn unmap(&mut self, span: Span) -> Result<(), Errno>;
    /// Does what is asked to interrupts that there are. With [`IrqData::Events`](crate::IrqData::Events) there are as
    /// many files as interrupts, or none.
    fn set_irqs(&mut self, set: &SetIrqs<'_>, events: Vec<OwnedFd>) -> Result<(), Errno>;
    /// Resets the device. What is mapped stays, and so do eventfds.
    fn reset(&mut self);
    /// Whether it can be served any longer. Asked after each message.
    fn goes_on(&self) -> bool;
}
