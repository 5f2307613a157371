// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a caller says about the machine it wants, and the connections it
//! gives to it.

use super::layout;
use crate::gdb::Invitation;
use crate::pmem::Pmem;
use crate::vfio::PciAddress;
use farfault_device_model::DeviceConfig;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

/// The smallest guest memory that can hold a stock kernel and its initrd.
pub const MIN_MEMORY: u64 = 128 << 20;
pub const MAX_MEMORY: u64 = 64 << 30;
/// Memory comes in pieces of this size.
pub const MEMORY_STEP: u64 = 2 << 20;
pub const MAX_VCPUS: u8 = 16;
/// Functions of the host: a bus has 32 devices, and three of them are the machine's own.
pub const MAX_PASSED_THROUGH: usize = 29;

/// One piece of the initial RAM disk.
#[derive(Clone, Debug)]
pub enum Initrd {
    /// An archive in a file.
    File(PathBuf),
    /// An archive made in memory.
    Bytes(Vec<u8>),
}

/// A machine before it is built.
#[derive(Clone, Debug, Default)]
pub struct MachineSpec {
    /// The kernel: an ELF `vmlinux` or a bzImage.
    pub kernel: PathBuf,
    /// Archives that make up the initial RAM disk, in this order.
    pub initrd: Vec<Initrd>,
    /// Bytes that the guest's init is going to unpack beside it.
    pub orders: u64,
    /// What to add to the kernel command line. The machine puts its own words
    /// (console, reboot, what this machine lacks) in front.
    pub cmdline: String,
    /// Guest memory in bytes, a multiple of 2 MiB.
    pub memory: u64,
    /// Persistent memory beside it.
    pub pmem: Vec<Pmem>,
    pub vcpus: u8,
    pub device: DeviceConfig,
    /// Whether it stands behind an IOMMU.
    pub iommu: bool,
    /// Functions of the host that the guest has. If an accelerator is among them, it is the
    /// only one.
    pub passed_through: Vec<PciAddress>,
    /// Where debuggers come from, if they may.
    pub debugger: Option<Arc<Invitation>>,
}

/// One end of each of a guest's byte streams. For a machine, a stream whose other end
/// is closed reads as end of file and swallows what is written.
#[derive(Debug)]
pub struct GuestStreams {
    /// The serial line, COM1.
    pub serial: UnixStream,
    /// Read by the guest's command: port `farfault.stdin`.
    pub stdin: UnixStream,
    pub stdout: UnixStream,
    pub stderr: UnixStream,
    /// Lines to and from init: port `farfault.control`.
    pub control: UnixStream,
}

impl MachineSpec {
    /// Where persistent memory is in the guest's physical memory.
    pub(super) fn pmem_ranges(&self) -> Vec<Range<u64>> {
        layout::pmem(self.memory, self.pmem.iter().map(Pmem::size))
    }
}
