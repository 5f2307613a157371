// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The columns of the matrix.

mod access;
mod advice;
mod endings;
mod files;
mod fork;
mod losses;
mod mapping;
mod movement;

use crate::column::Column;

/// All of them, in the order in which they are printed.
pub fn all() -> impl Iterator<Item = &'static Column> {
    [
        access::COLUMNS,
        mapping::COLUMNS,
        fork::COLUMNS,
        endings::COLUMNS,
        advice::COLUMNS,
        files::COLUMNS,
        movement::COLUMNS,
        losses::COLUMNS,
    ]
    .into_iter()
    .flatten()
}
