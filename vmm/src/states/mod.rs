// SPDX-License-Identifier: Apache-2.0 OR MIT
//! States of machines that are ready for a command, kept between runs: each in a folder of
//! its own, named by all that shapes the machine.

mod content;
mod manifest;
mod shape;
mod store;

pub use content::fill;
pub use shape::Shape;
use std::io;
use std::path::{Path, PathBuf};
pub use store::{Entry, State, Store};

/// Why a state cannot be taken up or kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot {what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not as it was left", .0.display())]
    Damaged(PathBuf),
    #[error("{} is of another version", .0.display())]
    Version(PathBuf),
    #[error("{} belongs to somebody else, or others may write to it", .0.display())]
    Foreign(PathBuf),
    #[error("no room for {needed} MiB in {}: {left} MiB are left", folder.display())]
    NoRoom { folder: PathBuf, needed: u64, left: u64 },
    #[error("{} is kept already", .0.display())]
    Kept(PathBuf),
}

impl StateError {
    pub fn file(what: &'static str, path: &Path, source: io::Error) -> StateError {
        StateError::File { what, path: path.to_owned(), source }
    }
}
