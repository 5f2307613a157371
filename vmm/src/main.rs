// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault`: a virtual machine with an accelerator in it.

mod archive;
mod cli;
mod exit;
mod machine;
mod session;
mod stats;

fn main() {}
