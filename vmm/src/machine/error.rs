// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong while a machine is built or runs, in words for the
//! person at the keyboard.

use super::spec::{MAX_MEMORY, MAX_PASSED_THROUGH, MAX_VCPUS, MEMORY_STEP, MIN_MEMORY};
use crate::accelerator::AcceleratorError;
use crate::pmem::PmemError;
use crate::vfio::{PassthroughError, PciAddress};
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
    #[error("cannot read the {what} {}: {source}", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a Linux kernel: it is neither an x86-64 ELF file nor a bzImage", .0.display())]
    NotAKernel(PathBuf),
    #[error("{} is damaged: {reason}", path.display())]
    DamagedKernel { path: PathBuf, reason: String },
    #[error(
        "{} MiB of memory are too little: {what} needs {} MiB (--memory {}M)",
        have >> 20, need.div_ceil(1 << 20), need.div_ceil(MEMORY_STEP) * (MEMORY_STEP >> 20)
    )]
    TooSmall { what: &'static str, have: u64, need: u64 },
    #[error(
        "a machine has {} MiB to {} GiB of memory in steps of {} MiB, not {bytes} bytes",
        MIN_MEMORY >> 20, MAX_MEMORY >> 30, MEMORY_STEP >> 20
    )]
    MemorySize { bytes: u64 },
    #[error("a machine has 1 to {MAX_VCPUS} vCPUs, not {0}")]
    Vcpus(u8),
    #[error("the kernel command line is {0} bytes long; Linux takes {1}")]
    CommandLine(usize, usize),
    #[error("{} GiB of memory do not fit into the {bits} address bits of this host's processors", bytes >> 30)]
    AddressBits { bytes: u64, bits: u32 },
    #[error("cannot reserve {} MiB of memory for the guest", bytes >> 20)]
    Memory { bytes: u64 },
    #[error(transparent)]
    Pmem(#[from] PmemError),
    #[error(transparent)]
    Passthrough(#[from] PassthroughError),
    #[error(
        "--vfio {0} is an accelerator, and takes the place of the one that --device describes; \
         leave out one of the two"
    )]
    TwoAccelerators(PciAddress),
    #[error("--vfio: a guest has at most {MAX_PASSED_THROUGH} of them")]
    TooManyFunctions,
    #[error("cannot open /dev/kvm: {0}")]
    NoKvm(io::Error),
    #[error("KVM on this host cannot {0}")]
    KvmLacks(&'static str),
    #[error("KVM did not {what}: {source}")]
    Kvm { what: &'static str, source: io::Error },
    #[error("cannot {what}: {source}")]
    Host { what: &'static str, source: io::Error },
    #[error("the saved machine is another one: {0} differs")]
    NotRestored(&'static str),
    #[error("KVM did not take back {what}: {source}")]
    NotTaken { what: &'static str, source: io::Error },
    #[error("vCPU {vcpu} stopped: {reason}")]
    Vcpu { vcpu: u8, reason: String },
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    #[error("the event loop failed: {0}")]
    EventLoop(event_manager::Error),
    #[error("internal error: the thread '{0}' died")]
    ThreadDied(String),
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl MachineError {
    /// A KVM call that failed.
    pub(super) fn kvm(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> MachineError {
        move |error| MachineError::Kvm { what, source: error.into() }
    }

    /// Something else that the host did not do.
    pub(super) fn host(what: &'static str) -> impl FnOnce(io::Error) -> MachineError {
        move |source| MachineError::Host { what, source }
    }

    /// A KVM call that failed for what it was to restore.
    pub(super) fn restore(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> MachineError {
        move |error| MachineError::NotTaken { what, source: error.into() }
    }

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
            | E::TwoAccelerators(_)
            | E::TooManyFunctions
            | E::Accelerator(AcceleratorError::Choices(_)) => Blame::User,
            E::Pmem(PmemError::NoRoom { .. } | PmemError::Map(..)) => Blame::Host,
            E::Pmem(_) => Blame::User,
            E::Passthrough(error) if error.is_usage() => Blame::User,
            E::Passthrough(_) => Blame::Host,
            E::AddressBits { .. } | E::Memory { .. } | E::NoKvm(_) | E::KvmLacks(_) => Blame::Host,
            E::Kvm { .. }
            | E::NotRestored(_)
            | E::NotTaken { .. }
            | E::Host { .. }
            | E::Vcpu { .. }
            | E::Accelerator(AcceleratorError::Events(_))
            | E::EventLoop(_)
            | E::ThreadDied(_)
            | E::Internal(_) => Blame::Vmm,
        }
    }
}
