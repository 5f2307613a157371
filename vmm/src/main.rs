// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault`: boots a guest with the accelerator in it and runs a command there.

mod accelerator;
mod archive;
mod cli;
mod devices;
mod doctor;
mod exit;
mod image;
mod iommu;
mod machine;
mod nested;
mod pci;
mod pmem;
mod probe;
mod session;
mod stats;

use std::process::exit;

fn main() {
    // Threads that still wait for input nobody will type must not hold us up.
    exit(cli::main().into());
}
