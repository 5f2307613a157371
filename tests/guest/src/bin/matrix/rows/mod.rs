// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rows of the matrix.

mod anonymous;
mod devices;
mod files;
mod migrated;
mod registered;
mod sealed;
mod secret;
mod userfault;

use crate::row::Row;

/// Columns for which there has to be a file; for rows without, of a kind that has files.
const FILE: &[&str] = &["truncate", "punch-hole", "collapse-range", "writeback", "reflink"];
/// Columns that end in reclaim of what only the device wrote.
const LOSSES: &[&str] = &["free-write", "swapin-write", "hole-write", "sync-write"];

/// All of them, in the order in which they are printed.
pub fn all() -> impl Iterator<Item = &'static Row> {
    [
        anonymous::ROWS,
        migrated::ROWS,
        registered::ROWS,
        files::ROWS,
        sealed::ROWS,
        secret::ROWS,
        devices::ROWS,
        userfault::ROWS,
    ]
    .into_iter()
    .flatten()
}
