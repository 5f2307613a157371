// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a row of the matrix is: a kind of memory.

use crate::calls::Span;
use crate::environment::Environment;
use crate::model::{Access, HUGE, Kind, PAGE, Subject};
use farfault_guest_programs::Failure;
use nix::errno::Errno;

/// What becomes of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The change is made.
    Runs,
    /// The kernel refuses it; the device then still sees what is there.
    Refused(Errno),
    /// There is nothing to try, and why.
    Senseless(&'static str),
}

/// Memory that was made, or why it could not be.
pub type Made = Result<Subject, Failure>;

/// Columns, by name, and what becomes of their cells.
pub type Rules = &'static [(&'static [&'static str], Rule)];

/// A kind of memory, and how to make a piece of it.
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub kind: Kind,
    /// Where it is not as others of its kind.
    pub rules: Rules,
    /// Whether a write is seen in the file, or by a child after a fork.
    pub shared: bool,
    /// Bytes of a subject, unless a column asks for more.
    pub length: u64,
    /// Alignment, and bytes that one entry of the device's page table can map.
    pub leaf: u64,
    /// How the device accesses it at first without making something else of it.
    pub touch: Access,
    /// Whether the prefetch ioctl can have it mapped.
    pub prefetched: bool,
    /// Makes so many bytes of it.
    pub make: fn(&Environment, &Row, u64) -> Made,
    /// Brings it into the state that the row is about, once the device has had it.
    pub prepare: fn(&mut Subject) -> Result<(), Failure>,
    /// What only this kind must also fulfil, once the device has written.
    pub check: fn(&Subject) -> Result<(), Failure>,
}

impl Row {
    /// A row with what most of them have.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        kind: Kind,
        make: fn(&Environment, &Row, u64) -> Made,
    ) -> Self {
        Self {
            name,
            about,
            kind,
            rules: &[],
            shared: false,
            length: 16 * PAGE,
            leaf: PAGE,
            touch: Access::Write,
            prefetched: true,
            make,
            prepare: |_| Ok(()),
            check: |_| Ok(()),
        }
    }

    /// Memory of this kind at `span`, in which there is 0 so far.
    pub fn at(&self, span: Span) -> Subject {
        Subject::new(span, self.kind, self.shared, self.leaf)
    }

    /// What `length` bytes of it are aligned to, so that huge pages fit in.
    pub fn alignment(&self, length: u64) -> u64 {
        if length >= HUGE { HUGE } else { self.leaf }
    }

    pub const fn but(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    pub const fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    pub const fn read_first(self) -> Self {
        Self { touch: Access::Read, ..self }
    }

    pub const fn faulted(self) -> Self {
        Self { prefetched: false, ..self }
    }

    pub const fn sized(self, length: u64, leaf: u64) -> Self {
        Self { length, leaf, ..self }
    }

    pub const fn prepared(self, prepare: fn(&mut Subject) -> Result<(), Failure>) -> Self {
        Self { prepare, ..self }
    }

    pub const fn checked(self, check: fn(&Subject) -> Result<(), Failure>) -> Self {
        Self { check, ..self }
    }
}

/// A part of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    Front,
    Middle,
    Tail,
}

impl Part {
    /// Quarters: the first, the two in the middle, the last.
    pub fn of(self, span: Span) -> Span {
        let quarter = span.length / 4;
        let (skip, length) = match self {
            Self::Whole => (0, span.length),
            Self::Front => (0, quarter),
            Self::Middle => (quarter, 2 * quarter),
            Self::Tail => (3 * quarter, quarter),
        };
        Span { start: span.start + skip, length }
    }
}
