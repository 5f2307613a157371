// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault`: a virtual machine with an accelerator in it.

mod machine;

fn main() {}
