// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rows of the matrix.

mod anonymous;
mod devices;
mod files;
mod userfault;

use crate::row::Row;

/// All of them, in the order in which they are printed.
pub fn all() -> impl Iterator<Item = &'static Row> {
    [anonymous::ROWS, files::ROWS, devices::ROWS, userfault::ROWS].into_iter().flatten()
}
