// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A KVM machine with the accelerator in it: what a caller describes
//! ([`MachineSpec`]), what it connects ([`GuestStreams`]), and how a run ends
//! ([`MachineEnd`]).

mod acpi;
mod bar_memory;
mod boot;
mod builder;
mod bus;
mod cpuid;
mod debugger;
mod end;
mod error;
mod event_loop;
mod exits;
mod functions;
mod handle;
mod hits;
mod initrd;
mod interrupts;
mod kernel;
mod last_seen;
mod layout;
mod memory;
mod pause;
mod run;
mod run_page;
mod saved;
mod spec;
mod standstill;
mod start;
mod vcpu;

pub use boot::set_segments;
pub use builder::likeness;
pub use end::MachineEnd;
pub use error::{Blame, MachineError};
pub use handle::Handle;
pub use run::Machine;
pub use saved::{SaveError, SavedMachine};
pub use spec::{GuestStreams, Initrd, MAX_MEMORY, MAX_VCPUS, MIN_MEMORY, MachineSpec};
pub use start::Start;
