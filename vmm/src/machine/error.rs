// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong while a machine is built or runs, in words for the
//! person at the keyboard.

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
    /// A file named by the user could not be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What the file was to be.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl MachineError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            MachineError::Read { .. } => Blame::User,
        }
    }
}
