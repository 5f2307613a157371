// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong while a machine is built or runs, in words for the
//! person at the keyboard.

use super::spec::{MAX_MEMORY, MAX_VCPUS, MEMORY_STEP, MIN_MEMORY};
use crate::accelerator::AcceleratorError;
use crate::pmem::PmemError;
use std::io;
use std::path::PathBuf;

/// Whose fault an error is; the exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// What the user asked for cannot be done.
    User,
    /// The host lacks something.
    Host,
    /// The VMM itself failed.
    Vmm,
}

/// A machine that could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file named by the user could not be read.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Read {
        /// What the file was to be.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The kernel file is something else.
    #[error("{} is not a Linux kernel: it is neither an x86-64 ELF file nor a bzImage", .0.display())]
    NotAKernel(PathBuf),
    /// The kernel file begins like one, and then does not go on like one.
    #[error("{} is damaged: {reason}", path.display())]
    DamagedKernel {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// Kernel and initrd do not fit.
    #[error(
        "{} MiB of memory are too little: {what} needs {} MiB",
        have >> 20, need.div_ceil(1 << 20)
    )]
    TooSmall {
        /// What does not fit.
        what: &'static str,
        /// Bytes of memory asked for.
        have: u64,
        /// Bytes of memory needed.
        need: u64,
    },
    /// A size out of range.
    #[error(
        "a machine has {} MiB to {} GiB of memory in steps of {} MiB, not {bytes} bytes",
        MIN_MEMORY >> 20, MAX_MEMORY >> 30, MEMORY_STEP >> 20
    )]
    MemorySize {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A number out of range.
    #[error("a machine has 1 to {MAX_VCPUS} vCPUs, not {0}")]
    Vcpus(u8),
    /// More than Linux takes.
    #[error("the kernel command line is {0} bytes long; Linux takes {1}")]
    CommandLine(usize, usize),
    /// The host's processors cannot address that much.
    #[error("{} GiB of memory do not fit into the {bits} address bits of this host's processors", bytes >> 30)]
    AddressBits {
        /// Bytes asked for.
        bytes: u64,
        /// Physical address bits.
        bits: u32,
    },
    /// The host has too little memory, or limits this process.
    #[error("cannot reserve {} MiB of memory for the guest", bytes >> 20)]
    Memory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A file cannot be persistent memory.
    #[error(transparent)]
    Pmem(#[from] PmemError),
    /// No KVM.
    #[error("cannot open /dev/kvm: {0}")]
    NoKvm(io::Error),
    /// KVM, but not enough of it.
    #[error("KVM on this host cannot {0}")]
    KvmLacks(&'static str),
    /// A KVM call failed.
    #[error("KVM did not {what}: {source}")]
    Kvm {
        /// What it was to do.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Another call failed.
    #[error("cannot {what}: {source}")]
    Host {
        /// What was to be done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A vCPU stopped for a reason that no guest should be able to cause.
    #[error("vCPU {vcpu} stopped: {reason}")]
    Vcpu {
        /// Which one.
        vcpu: u8,
        /// KVM's reason.
        reason: String,
    },
    /// The device could not be made.
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    /// The event loop failed.
    #[error("the event loop failed: {0}")]
    EventLoop(event_manager::Error),
    /// A thread has panicked.
    #[error("internal error: the thread '{0}' died")]
    ThreadDied(String),
    /// A part of the VMM broke an assumption of another.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl MachineError {
    /// A KVM call that failed.
    pub(super) fn kvm(what: &'static str, error: kvm_ioctls::Error) -> MachineError {
        MachineError::Kvm { what, source: error.into() }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        use MachineError as E;
        match self {
            E::Read { .. }
            | E::NotAKernel(_)
            | E::DamagedKernel { .. }
            | E::TooSmall { .. }
            | E::MemorySize { .. }
            | E::Vcpus(_)
            | E::CommandLine(..)
            | E::Pmem(
                PmemError::Missing(_)
                | PmemError::NotAFile(_)
                | PmemError::ReadOnly(_)
                | PmemError::Open(..)
                | PmemError::Size { .. }
                | PmemError::InUse(_),
            )
            | E::Accelerator(AcceleratorError::Choices(_)) => Blame::User,
            E::Pmem(PmemError::NoRoom { .. } | PmemError::Map(..))
            | E::AddressBits { .. }
            | E::Memory { .. }
            | E::NoKvm(_)
            | E::KvmLacks(_) => Blame::Host,
            E::Kvm { .. }
            | E::Host { .. }
            | E::Vcpu { .. }
            | E::Accelerator(AcceleratorError::Events(_))
            | E::EventLoop(_)
            | E::ThreadDied(_)
            | E::Internal(_) => Blame::Vmm,
        }
    }
}
