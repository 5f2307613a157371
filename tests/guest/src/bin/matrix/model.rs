// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a piece of memory must look like: the words that are in it, who may
//! change them, and what the device has mapped of it.

use crate::calls::Span;
use farfault_guest_programs::memory;
use std::fs::File;
use std::ops::RangeInclusive;

pub const PAGE: u64 = memory::PAGE as u64;
pub const HUGE: u64 = memory::HUGE_PAGE as u64;
pub const GIGANTIC: u64 = 1 << 30;

/// Pages of a subject that are looked at: first and last of each quarter of it.
pub const SAMPLES: u64 = 8;

/// Offsets in a page: a link to the next sample, a word that is compared, one that
/// is added to, and two that only commands under way write and add to.
pub const LINK: u64 = 0;
pub const STAMP: u64 = 8;
pub const SUM: u64 = 16;
pub const MARK: u64 = 24;
pub const TALLY: u64 = 32;

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// This word.
    Word(u64),
    /// This word, or 0 if the kernel has already taken the page back.
    Lapsing(u64),
    /// Nothing that may be accessed.
    Nothing,
}

/// Whether the device can access a page without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    No,
    Maybe,
    Yes,
}

/// A page that is looked at.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: u64,
    pub holds: Holds,
    /// What it held before anybody wrote to the mapping.
    pub original: u64,
    /// What is there and would be seen, were access allowed.
    pub hidden: Option<u64>,
    pub writable: bool,
    pub read: Mapped,
    pub write: Mapped,
    /// Whether it can be written without another fault once it was read.
    pub read_maps: Mapped,
    /// Whether all is still in it that was written while a command was under way.
    pub intact: bool,
}

impl Sample {
    pub fn is_there(&self) -> bool {
        self.holds != Holds::Nothing
    }

    pub fn allows(&self, access: Access) -> bool {
        self.is_there() && (access == Access::Read || self.writable)
    }

    /// What was written to it is lost: there is `word`, if there can be anything.
    pub fn becomes(&mut self, word: u64) {
        self.intact = false;
        if self.is_there() {
            self.holds = Holds::Word(word);
            self.read_maps = Mapped::Maybe;
        }
        self.hidden = self.hidden.map(|_| word);
    }

    /// `word` was written to it.
    pub fn written(&mut self, word: u64) {
        self.holds = Holds::Word(word);
        if self.read_maps == Mapped::No {
            self.read_maps = Mapped::Maybe;
        }
    }

    /// Takes away all access, and leaves what is there.
    pub fn hide(&mut self) {
        if let Holds::Word(word) = self.holds {
            self.hidden = Some(word);
            self.holds = Holds::Nothing;
        }
    }

    /// Allows access to what is hidden.
    pub fn reveal(&mut self) {
        if let Some(word) = self.hidden.take() {
            self.holds = Holds::Word(word);
            self.read_maps = Mapped::Maybe;
        }
    }

    pub fn mapped(&mut self, mapped: Mapped) {
        (self.read, self.write) = (mapped, mapped);
    }
}

/// What the kernel makes memory of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Anonymous,
    /// Pages of a file that exists in memory only.
    Shmem,
    /// Page cache of a file on a disk.
    Disk,
    Hugetlb,
    /// Persistent memory itself.
    Dax,
    /// Pages that a device's driver maps.
    Device,
    /// Pages that the kernel itself does not reach, and keeps from drivers.
    Secret,
    /// Addresses without pages that a device could have.
    Pageless,
}

/// What can be done with memory to look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// Memory under test.
pub struct Subject {
    pub span: Span,
    pub kind: Kind,
    /// Whether others see what is written to it.
    pub shared: bool,
    pub samples: Vec<Sample>,
    /// What it was mapped from.
    pub file: Option<File>,
    /// Bytes that one entry of the device's page table maps, while it is whole.
    pub leaf: u64,
    /// Whether it is: not after a change to a part.
    pub whole: bool,
    /// Where the device finds nothing, the CPU may yet find something: it is not asked.
    pub cpu_alone: bool,
    /// Whether the device loses what the CPU reads, as it has to be brought back: not what has come
    /// back by then.
    pub comes_back: bool,
}

impl Subject {
    /// Memory at `span`, in which there is 0 so far.
    pub fn new(span: Span, kind: Kind, shared: bool, leaf: u64) -> Self {
        let sample = |offset| Sample {
            at: span.start + offset,
            holds: Holds::Word(0),
            original: 0,
            hidden: None,
            writable: true,
            read: Mapped::No,
            write: Mapped::No,
            read_maps: Mapped::Maybe,
            intact: true,
        };
        Self {
            span,
            kind,
            shared,
            samples: offsets(span.length).map(sample).collect(),
            file: None,
            leaf,
            whole: true,
            cpu_alone: false,
            comes_back: false,
        }
    }

    /// Each sample holds its stamp of `generation`.
    pub fn stamped(mut self, generation: u64) -> Self {
        for (number, sample) in (0..).zip(&mut self.samples) {
            sample.holds = Holds::Word(stamp(generation, number));
        }
        self
    }

    /// What the device has mapped of each sample.
    pub fn mapped(&mut self, mapped: Mapped) {
        self.samples.iter_mut().for_each(|sample| sample.mapped(mapped));
    }

    /// What a page that was read lets the device do beside.
    pub fn reading_maps(&mut self, maps: Mapped) {
        self.samples.iter_mut().for_each(|sample| sample.read_maps = maps);
    }

    /// Nobody knows what the device has mapped, or what a page table entry allows.
    pub fn anything_may_be_mapped(&mut self) {
        self.whole = false;
        self.mapped(Mapped::Maybe);
        self.reading_maps(Mapped::Maybe);
    }

    /// The device may have nothing of it, and the CPU is not asked.
    pub fn kept_from_devices(mut self) -> Self {
        self.cpu_alone = true;
        self.samples.iter_mut().for_each(|sample| sample.holds = Holds::Nothing);
        self
    }

    /// What is there now is what will be there when it is mapped anew.
    pub fn originally(mut self) -> Self {
        for sample in &mut self.samples {
            if let Holds::Word(word) = sample.holds {
                sample.original = word;
            }
        }
        self
    }

    /// All of it has gone to another place: `what` is left where it was.
    pub fn move_to(&mut self, place: Span, what: impl Fn(&Sample) -> Option<Holds>) {
        let mut left = Vec::new();
        for sample in &mut self.samples {
            if let Some(holds) = what(sample) {
                let (no, read_maps) = (Mapped::No, Mapped::Maybe);
                left.push(Sample { holds, read: no, write: no, read_maps, ..sample.clone() });
            }
            sample.at = sample.at - self.span.start + place.start;
            sample.mapped(Mapped::No);
        }
        self.samples.append(&mut left);
        self.span = place;
    }

    pub fn is_closed(&self) -> bool {
        self.samples.iter().all(|sample| !sample.is_there())
    }

    pub fn addresses(&self, offset: u64) -> Vec<u64> {
        self.samples.iter().map(|sample| sample.at + offset).collect()
    }

    pub fn within(&mut self, span: Span) -> impl Iterator<Item = &mut Sample> {
        self.samples.iter_mut().filter(move |sample| span.contains(sample.at))
    }

    /// How many far faults it takes the device to access each of `those` once.
    pub fn faults(&self, access: Access, those: fn(&Sample) -> bool) -> RangeInclusive<u64> {
        let (mut least, mut most) = (0, 0);
        let mut leaf = Vec::new();
        let samples: Vec<_> = self.samples.iter().filter(|sample| those(sample)).collect();
        for (place, sample) in samples.iter().enumerate() {
            if !sample.allows(access) {
                least += 1;
                most += 1;
            } else {
                leaf.push(if access == Access::Read { sample.read } else { sample.write });
            }
            let next = samples.get(place + 1);
            if next.is_none_or(|next| next.at / self.leaf != sample.at / self.leaf) {
                let (fewest, greatest) = self.leaf_faults(&leaf);
                least += fewest;
                most += greatest;
                leaf.clear();
            }
        }
        least..=most
    }

    /// One fault maps the whole of a leaf, unless it may have been broken.
    fn leaf_faults(&self, leaf: &[Mapped]) -> (u64, u64) {
        let count = |what| leaf.iter().filter(|mapped| **mapped == what).count() as u64;
        let (no, maybe) = (count(Mapped::No), count(Mapped::Maybe));
        if self.leaf == PAGE {
            (no, no + maybe)
        } else if self.whole {
            (no.min(1), (no + maybe).min(1))
        } else {
            (no.min(1), no + maybe)
        }
    }

    /// The device has accessed each sample once.
    pub fn accessed(&mut self, access: Access) {
        for sample in self.samples.iter_mut().filter(|sample| sample.is_there()) {
            match access {
                Access::Read => {
                    if sample.read == Mapped::No {
                        sample.write = sample.read_maps;
                    } else if sample.read == Mapped::Maybe {
                        sample.write = Mapped::Maybe;
                    }
                    sample.read = Mapped::Yes;
                }
                Access::Write if sample.writable => sample.mapped(Mapped::Yes),
                Access::Write => {}
            }
        }
    }
}

/// Where in `length` bytes the samples are.
pub fn offsets(length: u64) -> impl Iterator<Item = u64> {
    let part = length / SAMPLES;
    let offset = move |n| if n % 2 == 0 { n * part } else { (n + 1) * part - PAGE };
    (0..SAMPLES).map(offset)
}

/// A word that tells sample and time of writing.
pub fn stamp(generation: u64, number: u64) -> u64 {
    0xfa17_0000_0000_0000 | generation << 16 | number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(pages: u64, leaf: u64) -> Subject {
        let span = Span { start: 16 * HUGE, length: pages * PAGE };
        Subject::new(span, Kind::Anonymous, false, leaf)
    }

    #[test]
    fn each_small_page_takes_a_fault_once() {
        let mut subject = subject(16, PAGE);
        assert_eq!(subject.faults(Access::Read, |_| true), 8..=8);
        subject.accessed(Access::Read);
        assert_eq!(subject.faults(Access::Read, |_| true), 0..=0);
        // Whether it can be written as well is not known until it is tried.
        assert_eq!(subject.faults(Access::Write, |_| true), 0..=8);
        subject.accessed(Access::Write);
        assert_eq!(subject.faults(Access::Write, |_| true), 0..=0);
    }

    #[test]
    fn a_leaf_takes_one_unless_it_may_be_broken() {
        let mut subject = subject(1024, HUGE);
        assert_eq!(subject.faults(Access::Write, |_| true), 2..=2);
        subject.whole = false;
        assert_eq!(subject.faults(Access::Write, |_| true), 2..=8);
    }

    #[test]
    fn what_is_refused_takes_one_each_time() {
        let mut subject = subject(16, PAGE);
        subject.accessed(Access::Write);
        subject.samples[0].writable = false;
        subject.samples[1].holds = Holds::Nothing;
        assert_eq!(subject.faults(Access::Read, |_| true), 1..=1);
        assert_eq!(subject.faults(Access::Write, |_| true), 2..=2);
        assert_eq!(subject.faults(Access::Write, Sample::is_there), 1..=1);
    }

    #[test]
    fn samples_are_first_and_last_of_each_quarter() {
        let pages: Vec<u64> = offsets(16 * PAGE).map(|offset| offset / PAGE).collect();
        assert_eq!(pages, [0, 3, 4, 7, 8, 11, 12, 15]);
    }
}
