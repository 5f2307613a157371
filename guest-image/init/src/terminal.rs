// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A pseudo terminal for a command that wants one.

use crate::console;
use crate::failure::{Doing, Failure};
use nix::pty::{OpenptyResult, openpty};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::os::fd::OwnedFd;

/// Init's end of it.
pub struct Terminal {
    master: File,
}

impl Terminal {
    /// A new one, and the end that the command gets.
    pub fn open() -> Result<(Self, OwnedFd), Failure> {
        let OpenptyResult { master, slave } = openpty(None, None).doing("allocate a terminal")?;
        Ok((Self { master: File::from(master) }, slave))
    }

    /// Another handle for a thread that copies to or from it.
    pub fn handle(&self) -> Result<File, Failure> {
        self.master.try_clone().doing("share the terminal")
    }

    /// Tells the terminal its size; the kernel passes it on to the command.
    pub fn resize(&self, [rows, columns]: [u16; 2]) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        if let Err(errno) = tcsetwinsize(&self.master, size) {
            console::say(&format!("cannot resize the terminal to {rows}x{columns}: {errno}"));
        }
    }
}
