// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `farfault` program: boots a guest with the accelerator in it and runs a command there.

mod accelerator;
mod archive;
mod child;
mod cli;
mod devices;
mod doctor;
mod exit;
mod footprint;
mod gdb;
mod image;
mod iommu;
mod kvm;
mod machine;
mod mapping;
mod nested;
mod oops;
mod output;
mod pci;
mod pmem;
mod probe;
mod qemu;
mod rate_limit;
mod serve;
mod served;
mod session;
mod starts;
mod states;
mod stats;
mod vfio;

use std::panic;
use std::process;

#[cfg(fuzzing)]
pub use serve::World;

/// Does what the command line says, and ends the process.
pub fn main() {
    panic::set_hook(Box::new(|what| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        output::tell(&format!("farfault: internal error in the thread {name}: {what}"));
    }));
    let code = panic::catch_unwind(cli::main).unwrap_or(exit::VMM_FAILED);
    // Threads that still wait for input nobody will type must not hold us up.
    process::exit(code.into());
}
