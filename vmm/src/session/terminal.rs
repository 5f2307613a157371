// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The user's terminal: raw while the guest has it, and as it was on every
//! way out.

use nix::sys::termios::{self, SetArg, Termios};
use rustix::termios::tcgetwinsize;
use std::io::Stdin;
use std::os::fd::AsFd;

/// A terminal in raw mode; dropping it restores what was.
pub struct RawTerminal {
    input: Stdin,
    before: Termios,
}

impl RawTerminal {
    /// Makes the terminal on standard input raw.
    pub fn enter() -> nix::Result<RawTerminal> {
        let input = std::io::stdin();
        let before = termios::tcgetattr(&input)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&input, SetArg::TCSANOW, &raw)?;
        Ok(RawTerminal { input, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone away.
        let _ = termios::tcsetattr(&self.input, SetArg::TCSANOW, &self.before);
    }
}

/// Rows and columns of the terminal on standard input, if it is one.
pub fn window_size() -> Option<(u16, u16)> {
    size_of(std::io::stdin())
}

fn size_of(terminal: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_terminal_has_no_size() {
        let file = std::fs::File::open("/dev/null").expect("/dev/null");
        assert_eq!(size_of(file), None);
    }
}
