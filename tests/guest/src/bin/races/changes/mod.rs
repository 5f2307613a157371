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

/// What is run in one guest: so much that its start is worth while, and no more, so that a
/// guest which is lost does not take all with it.
const GROUPS: &[(&str, &[&[Kind]])] = &[
    (MAPPINGS, &[mappings::KINDS]),
    ("forks", &[forks::KINDS]),
    ("advice", &[advice::KINDS, swapoff::KINDS]),
    ("poison", &[poison::KINDS]),
    ("files", &[files::KINDS]),
    ("blocks", &[blocks::KINDS]),
    ("kernel", &[kernel::KINDS]),
    ("userfaults", &[userfaults::KINDS, moves::KINDS]),
    ("remote", &[remote::KINDS]),
];
/// The group with most kinds, which make for all sorts of meetings.
pub const MAPPINGS: &str = "mappings";

/// Each with its group, in the order in which they are done.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Kind)> {
    GROUPS
        .iter()
        .flat_map(|(group, files)| files.iter().copied().flatten().map(move |kind| (*group, kind)))
}
