// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A function of the host, as one that is passed through uses it.

use crate::mapping::Mapping;
use std::io;
use std::ops::Range;
use vmm_sys_util::eventfd::EventFd;

/// The ways in which a function interrupts; it uses one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A pin (INTx).
    Line,
    Msi,
    Msix,
}

/// Every method can be called from any thread at any time. What fails for a reason that the
/// guest can do nothing about reads as ones, or is not done.
pub trait HostFunction: Send + Sync {
    /// Bytes of its configuration space: 256 or 4096.
    fn config_size(&self) -> usize;
    /// Reads its configuration space.
    fn read_config(&self, offset: usize, data: &mut [u8]);
    /// Writes it, as far as VFIO lets anybody.
    fn write_config(&self, offset: usize, data: &[u8]);
    /// Bytes of a BAR; none if there is no such one.
    fn bar_size(&self, bar: usize) -> u64;
    /// What of a BAR can be mapped.
    fn mappable(&self, bar: usize) -> Vec<Range<u64>>;
    /// Maps a range of a BAR.
    fn map(&self, bar: usize, range: Range<u64>) -> io::Result<Mapping>;
    /// Reads a BAR.
    fn read_bar(&self, bar: usize, offset: u64, data: &mut [u8]);
    /// Writes a BAR.
    fn write_bar(&self, bar: usize, offset: u64, data: &[u8]);
    /// Interrupts that it can raise in a way.
    fn interrupts(&self, way: Way) -> usize;
    /// From now on these events are raised by its interrupts; no other way is in use.
    fn raise(&self, way: Way, events: &[&EventFd]) -> io::Result<()>;
    /// It interrupts no more in that way.
    fn silence(&self, way: Way);
    /// An interrupt by its pin is followed by another one only when `served` was raised.
    fn wait_for(&self, served: &EventFd) -> io::Result<()>;
    /// Resets it, if it can be.
    fn reset(&self);
}
