// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a column of the matrix is: something that is done.

use crate::cell::Cell;
use crate::model::Kind;
use crate::row::Rule;
use farfault_guest_programs::ktap::Outcome;

pub struct Column {
    pub name: &'static str,
    pub about: &'static str,
    /// The least that a subject must have.
    pub length: u64,
    /// Whether it is done once more while commands are under way.
    pub under_way: bool,
    /// Whether the kernel may decline it for as long as commands use the pages.
    pub declined: bool,
    /// Kinds of memory for which it is not what it is for others.
    pub rules: &'static [(&'static [Kind], Rule)],
    pub run: fn(&mut Cell<'_>) -> Outcome,
}

impl Column {
    /// Something that is done to memory that the device has mapped, and once more
    /// while it works on it.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        run: fn(&mut Cell<'_>) -> Outcome,
    ) -> Self {
        Self { name, about, length: 0, under_way: true, declined: false, rules: &[], run }
    }

    pub const fn but(self, rules: &'static [(&'static [Kind], Rule)]) -> Self {
        Self { rules, ..self }
    }

    pub const fn declined(self) -> Self {
        Self { declined: true, ..self }
    }

    pub const fn quiet(self) -> Self {
        Self { under_way: false, ..self }
    }

    pub const fn at_least(self, length: u64) -> Self {
        Self { length, ..self }
    }
}
