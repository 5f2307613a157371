// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be done to a file, and how one such thing is chosen: from the
//! random numbers, the file's length and what its file system offers, so that
//! the same seed gives the same operations.

use farfault_guest_programs::file_mapping::Advice;
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE};
use farfault_guest_programs::random::Random;
use std::fmt;
use std::ops::Range;

/// The longest access: long enough for many pages, short enough for many operations.
const LONGEST: usize = 128 << 10;
/// The same where a file is so large that huge pages of it can be mapped.
const LONGEST_HUGE: usize = 4 << 20;

/// Who accesses the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Cpu,
    Device,
}

/// How the device tries to reach what is behind the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Read,
    Write,
    Add,
    /// It reads from the last page on.
    Across,
}

/// One of them. Ranges are of bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// write(2); may extend the file.
    Write(Range<usize>),
    /// read(2), and comparison.
    Read(Range<usize>),
    Truncate(usize),
    /// Blocks are allocated; may extend the file.
    Allocate(Range<usize>),
    Punch(Range<usize>),
    /// A range is zeroed; may extend the file.
    Zero(Range<usize>),
    /// A range is taken out.
    Collapse(Range<usize>),
    /// A range of zeros is put in.
    Insert(Range<usize>),
    /// A range is reflinked to another place in the file.
    Clone(Range<usize>, usize),
    /// A range is reflinked to the same place in another file.
    Save(Range<usize>),
    /// A range is reflinked back from there.
    Restore(Range<usize>),
    /// The mapping is read; up to the end of the last page.
    See(Who, Range<usize>),
    /// The device compares the mapping with what it should hold.
    Compare(Range<usize>),
    Store(Who, Range<usize>),
    /// The device fills the mapping with a byte.
    Fill(Range<usize>, u8),
    /// The device adds to a word of the mapping.
    Add(usize),
    /// The device tries to reach pages behind the end.
    Beyond(Attempt, usize),
    Sync(Range<usize>),
    /// fsync(2), after which the page cache is dropped.
    Forget,
    Advise(Range<usize>, Advice),
    Remap,
}

/// What a file system offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Abilities {
    pub allocate: bool,
    pub punch: bool,
    pub zero: bool,
    pub collapse: bool,
    pub insert: bool,
    pub reflink: bool,
}

impl Abilities {
    /// The same without those that `names` lists, with commas between them.
    pub fn without(mut self, names: &str) -> Result<Self, String> {
        for name in names.split(',').filter(|name| !name.is_empty()) {
            *match name {
                "allocate" => &mut self.allocate,
                "punch" => &mut self.punch,
                "zero" => &mut self.zero,
                "collapse" => &mut self.collapse,
                "insert" => &mut self.insert,
                "reflink" => &mut self.reflink,
                _ => return Err(format!("--without {name}: there is no such operation")),
            } = false;
        }
        Ok(self)
    }
}

/// Lengths from which an operation is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub file: usize,
    /// Of the file that holds reflinked ranges.
    pub saved: usize,
    /// The most that either may have, a multiple of pages.
    pub most: usize,
}

impl Operation {
    pub fn choose(random: &mut Random, sizes: Sizes, abilities: Abilities) -> Operation {
        loop {
            if let Some(operation) = propose(random, sizes, abilities) {
                return operation;
            }
        }
    }

    /// The same without a device, if there is such a thing.
    pub fn by_cpu(self) -> Option<Operation> {
        match self {
            Self::See(_, range) | Self::Compare(range) => Some(Self::See(Who::Cpu, range)),
            Self::Store(_, range) | Self::Fill(range, _) => Some(Self::Store(Who::Cpu, range)),
            Self::Add(offset) => Some(Self::Store(Who::Cpu, offset..offset + 8)),
            Self::Beyond(..) => None,
            other => Some(other),
        }
    }

    /// What of a file of `length` bytes it changes, if it is a system call that does.
    pub fn changed(&self, length: usize) -> Option<Range<usize>> {
        match self {
            Self::Write(range)
            | Self::Punch(range)
            | Self::Zero(range)
            | Self::Allocate(range)
            | Self::Restore(range) => Some(range.clone()),
            Self::Clone(range, to) => Some(*to..to + range.len()),
            Self::Collapse(range) => Some(range.start..length),
            Self::Insert(range) => Some(range.start..length + range.len()),
            Self::Truncate(to) => Some(length.min(*to)..length.max(*to)),
            _ => None,
        }
    }

    /// Whether it is a system call that has the file system copy blocks which
    /// are shared with another file, or another place in this one.
    pub fn copies_blocks(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Truncate(_) | Self::Punch(_) | Self::Zero(_))
    }

    /// Whether files have the same blocks afterwards.
    pub fn shares_blocks(&self) -> bool {
        matches!(self, Self::Clone(..) | Self::Save(_) | Self::Restore(_))
    }
}

impl Sizes {
    /// Of an access: so that there is room for two of them.
    fn longest(self) -> usize {
        LONGEST.max((self.most / 2).min(LONGEST_HUGE) / HUGE_PAGE * HUGE_PAGE)
    }

    /// A range in `length` bytes, made of whole units.
    fn some(self, random: &mut Random, length: usize, unit: usize) -> Option<Range<usize>> {
        if length < unit {
            return None;
        }
        let range = random.range(length, unit);
        Some(range.start..range.end.min(range.start + self.longest()))
    }
}

/// None if the file or its file system is not such that it could be done.
fn propose(random: &mut Random, sizes: Sizes, abilities: Abilities) -> Option<Operation> {
    let Sizes { file, saved, most } = sizes;
    let pages = file.next_multiple_of(PAGE);
    let who = if random.bits() & 1 == 0 { Who::Cpu } else { Who::Device };
    // What moves blocks about does that half of the time with whole huge pages, if such a
    // file can have any: else hardly one would be left.
    let huge = sizes.longest() >= HUGE_PAGE && random.bits() & 1 == 0;
    let [byte, page] = if huge { [HUGE_PAGE; 2] } else { [1, PAGE] };
    let operation = match random.below(40) {
        0..3 => Operation::Write(sizes.some(random, most, 1)?),
        3..5 => Operation::Read(sizes.some(random, file, 1)?),
        5..7 => Operation::Truncate(random.below(most / byte + 1) * byte),
        7 if abilities.allocate => Operation::Allocate(sizes.some(random, most, byte)?),
        8 | 9 if abilities.punch => Operation::Punch(sizes.some(random, most, byte)?),
        10 if abilities.zero => Operation::Zero(sizes.some(random, most, byte)?),
        11 if abilities.collapse => {
            let range = sizes.some(random, file, page)?;
            (range.end < file).then_some(Operation::Collapse(range))?
        }
        12 if abilities.insert => {
            let start = sizes.some(random, file, page)?.start;
            let range = start..start + sizes.some(random, most - pages, page)?.len();
            Operation::Insert(range)
        }
        13 if abilities.reflink => {
            let range = sizes.some(random, file, page)?;
            let to = random.below((most - range.len()) / page + 1) * page;
            let apart = to + range.len() <= range.start || to >= range.end;
            apart.then_some(Operation::Clone(range, to))?
        }
        14 if abilities.reflink => Operation::Save(sizes.some(random, file, page)?),
        15 if abilities.reflink => Operation::Restore(sizes.some(random, saved, page)?),
        16..21 => Operation::See(who, sizes.some(random, pages, 1)?),
        21 | 22 => Operation::Compare(sizes.some(random, pages, 1)?),
        23..28 => Operation::Store(who, sizes.some(random, file, 1)?),
        28 | 29 => Operation::Fill(sizes.some(random, file, 1)?, random.bits() as u8),
        30 | 31 => Operation::Add(sizes.some(random, file, 8)?.start),
        32 | 33 => beyond(random, pages, most)?,
        34 | 35 => Operation::Sync(sizes.some(random, file, 1)?),
        36 => Operation::Forget,
        37 => Operation::Advise(sizes.some(random, pages, PAGE)?, Advice::Unmap),
        38 => Operation::Advise(sizes.some(random, pages, PAGE)?, Advice::PageOut),
        39 => Operation::Remap,
        _ => return None,
    };
    Some(operation)
}

fn beyond(random: &mut Random, pages: usize, most: usize) -> Option<Operation> {
    // Eight bytes for the widest access.
    let place = (most - pages).checked_sub(8).filter(|room| *room > 0)?;
    let offset = pages + random.below(place);
    Some(match random.below(4) {
        0 => Operation::Beyond(Attempt::Read, offset),
        1 => Operation::Beyond(Attempt::Write, offset),
        2 => Operation::Beyond(Attempt::Add, offset / 8 * 8),
        _ if pages > 0 => Operation::Beyond(Attempt::Across, pages - 1 - random.below(PAGE)),
        _ => return None,
    })
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut range = |what: &str, range: &Range<usize>| {
            write!(f, "{what} of {:#x}..{:#x}", range.start, range.end)
        };
        match self {
            Self::Write(to) => range("write", to),
            Self::Read(from) => range("read", from),
            Self::Allocate(of) => range("allocation", of),
            Self::Punch(of) => range("hole punch", of),
            Self::Zero(of) => range("zeroing", of),
            Self::Collapse(of) => range("collapse", of),
            Self::Insert(of) => range("insertion", of),
            Self::Save(of) => range("reflink to the other file", of),
            Self::Restore(of) => range("reflink from the other file", of),
            Self::See(Who::Cpu, of) => range("CPU read", of),
            Self::See(Who::Device, of) => range("device read", of),
            Self::Compare(of) => range("device comparison", of),
            Self::Store(Who::Cpu, of) => range("CPU write", of),
            Self::Store(Who::Device, of) => range("device write", of),
            Self::Fill(of, _) => range("device fill", of),
            Self::Sync(of) => range("msync", of),
            Self::Advise(of, Advice::Unmap) => range("MADV_DONTNEED", of),
            Self::Advise(of, Advice::PageOut) => range("MADV_PAGEOUT", of),
            Self::Clone(of, to) => {
                write!(f, "reflink of {:#x}..{:#x} to {to:#x}", of.start, of.end)
            }
            Self::Truncate(length) => write!(f, "truncation to {length:#x}"),
            Self::Add(offset) => write!(f, "device add at {offset:#x}"),
            Self::Beyond(attempt, offset) => {
                write!(f, "device {attempt:?} behind the end, at {offset:#x}")
            }
            Self::Forget => f.write_str("fsync and drop of the page cache"),
            Self::Remap => f.write_str("new mapping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Abilities = Abilities {
        allocate: true,
        punch: true,
        zero: true,
        collapse: true,
        insert: true,
        reflink: true,
    };

    #[test]
    fn operations_keep_to_what_the_file_is() {
        keep_to_what_the_file_is(64 * PAGE);
    }

    #[test]
    fn operations_on_huge_pages_do_too() {
        keep_to_what_the_file_is(4 * HUGE_PAGE);
    }

    #[test]
    fn operations_can_be_left_out() {
        let Abilities { allocate, punch, zero, collapse, insert, reflink } =
            ALL.without("reflink,zero").expect("names of operations");
        assert_eq!((allocate, punch, collapse, insert), (true, true, true, true));
        assert_eq!((zero, reflink), (false, false));
        assert!(ALL.without("reflinks").is_err());
    }

    fn keep_to_what_the_file_is(most: usize) {
        let mut random = Random::new(1, &[]);
        for round in 0..20_000 {
            let round = round * (most / PAGE / 64);
            let sizes = Sizes { file: round % (most + 1), saved: round / 3 % most, most };
            let pages = sizes.file.next_multiple_of(PAGE);
            match Operation::choose(&mut random, sizes, ALL) {
                Operation::Read(of) | Operation::Store(_, of) => assert!(of.end <= sizes.file),
                Operation::See(_, of) => assert!(of.end <= pages),
                Operation::Add(offset) => assert!(offset + 8 <= sizes.file),
                Operation::Collapse(of) => assert!(of.end < sizes.file),
                Operation::Insert(of) => {
                    assert!(of.start < sizes.file && sizes.file + of.len() <= most);
                }
                Operation::Clone(of, to) => {
                    assert!(of.end <= sizes.file && to + of.len() <= most);
                }
                Operation::Restore(of) => assert!(of.end <= sizes.saved),
                Operation::Beyond(Attempt::Across, at) => assert!(at + PAGE >= pages && at < pages),
                Operation::Beyond(_, at) => assert!(at >= pages && at + 8 <= most),
                Operation::Write(of) => assert!(of.end <= most),
                _ => {}
            }
        }
    }

    #[test]
    fn what_a_file_system_lacks_is_not_chosen() {
        let mut random = Random::new(2, &[]);
        let sizes = Sizes { file: 8 * PAGE, saved: 8 * PAGE, most: 16 * PAGE };
        for _ in 0..5_000 {
            let operation = Operation::choose(&mut random, sizes, Abilities::default());
            assert!(!matches!(
                operation,
                Operation::Allocate(_)
                    | Operation::Punch(_)
                    | Operation::Zero(_)
                    | Operation::Collapse(_)
                    | Operation::Insert(_)
                    | Operation::Clone(..)
                    | Operation::Save(_)
                    | Operation::Restore(_)
            ));
        }
    }
}
