// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this program itself says. A closed stream or a full disk does not end
//! it, and nothing that a terminal would obey gets out.

use crate::exit::Failure;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

/// Says lines on standard error. Who does not read there misses only them.
pub fn tell(text: &str) {
    let lines: String = text.lines().map(|line| printable(line) + "\n").collect();
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// Prints a result on standard output. A reader may stop before the end.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::host_lacks(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Text of others made fit for one line of a terminal: no control characters.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Like [`Write::write_all`], also where someone made the file non-blocking.
pub fn write_all(mut output: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_for(output, PollFlags::POLLOUT);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until a file can be read or written.
pub fn wait_for(file: &File, what: PollFlags) {
    // An error here shows again, and for good, in the next read or write.
    let _ = poll(&mut [PollFd::new(file.as_fd(), what)], PollTimeout::NONE);
}
