// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All kinds of change there are.

mod advice;
mod blocks;
mod files;
mod forks;
mod kernel;
mod mappings;
mod moves;
mod poison;
mod remote;
mod swapoff;
mod userfaults;

use crate::kind::Kind;

pub use advice::{DISCARD, PAGE_OUT};
pub use forks::FORK;
pub use mappings::{RELOCATE, UNMAP};
pub use userfaults::MISSING;

/// In the order in which they are done.
pub fn all() -> impl Iterator<Item = &'static Kind> {
    [
        mappings::KINDS,
        forks::KINDS,
        advice::KINDS,
        poison::KINDS,
        files::KINDS,
        blocks::KINDS,
        kernel::KINDS,
        userfaults::KINDS,
        swapoff::KINDS,
        remote::KINDS,
        moves::KINDS,
    ]
    .into_iter()
    .flatten()
}
