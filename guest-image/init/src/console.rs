// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What init has to say where nobody may listen. `eprintln!` panics when it cannot write,
//! and a panic of process 1 is one of the kernel.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};

/// Says `line` on the console, or else in the kernel's log.
pub fn say(line: &impl Display) {
    let text = format!("farfault-init: {line}\n");
    let said = io::stderr().write_all(text.as_bytes());
    let _ = said.or_else(|_| fs::write("/dev/kmsg", text));
}
