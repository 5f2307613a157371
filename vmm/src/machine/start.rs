// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a machine begins, and what its memory is then.

use super::saved::SavedMachine;
use std::fs::File;

/// Where a machine begins.
#[derive(Debug)]
pub enum Start {
    /// At the first instruction of its kernel.
    Boot,
    /// The same, with its memory in this file.
    BootIn(File),
    /// Where it was saved: its memory, which the file keeps as it is, and all else.
    GoOn(File, Box<SavedMachine>),
}

/// What RAM is made of.
#[derive(Clone, Copy, Debug)]
pub enum Ram<'a> {
    Anonymous,
    /// A file, which has what the guest writes.
    Shared(&'a File),
    /// What a file has, and the guest's own copies of pages that it writes.
    Private(&'a File),
}

impl Start {
    pub fn ram(&self) -> Ram<'_> {
        match self {
            Start::Boot => Ram::Anonymous,
            Start::BootIn(file) => Ram::Shared(file),
            Start::GoOn(file, _) => Ram::Private(file),
        }
    }
}
