// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a change works with, and the steps that changes are made of.

use crate::accessor::{Accessor, LONGEST};
use crate::arena::Arena;
use crate::layout::{STAMPS, WORDS};
use crate::oracle::{Finding, Ledger, Right};
use farfault_guest_programs::memory::{MADV_DONTNEED, PAGE, Region};
use farfault_guest_programs::random::Random;
use farfault_guest_programs::{Failure, views};
use std::ops::Range;

/// Pages that are mapped anew after each change and never shown to the device:
/// the frames that the change has given back, as a rule.
const BYSTANDERS: usize = 4;
/// One change in so many is looked at closely: the changer has the device access
/// pages before, within and after it. That takes far longer than the change, and
/// the other queues are at it all the time.
const CLOSELY: usize = 32;
/// How often others get the CPU while access is denied, if it is not.
const TRIES: usize = 4;

/// A kind of change; made anew for each run. Most are functions.
pub trait Change {
    /// Changes some pages. Contents that go are announced in the ledger before, and published
    /// when others are there; rights are `Changing` meanwhile. The stage's methods do both.
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure>;

    /// Called after the last one: has it really been done?
    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<F: FnMut(&mut Stage<'_>) -> Result<(), Failure>> Change for F {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        self(stage)
    }
}

/// The changer's view of the pages.
pub struct Stage<'a> {
    pub arena: &'a Arena,
    pub ledger: &'a Ledger,
    /// A queue of the changer's own, used only between and within its changes.
    pub probe: Accessor<'a>,
    pub random: Random,
    closely: bool,
    template: Region,
    bystanders: Region,
    watched: u64,
}

impl<'a> Stage<'a> {
    pub fn new(
        arena: &'a Arena,
        ledger: &'a Ledger,
        probe: Accessor<'a>,
        random: Random,
    ) -> Result<Self, Failure> {
        let template = Region::small_pages(LONGEST * PAGE)?;
        let bystanders = Region::small_pages(BYSTANDERS * PAGE)?;
        let closely = true;
        let mut stage =
            Self { arena, ledger, probe, random, closely, template, bystanders, watched: 0 };
        for page in 0..arena.pages() {
            stage.store_stamp(page);
        }
        Ok(stage)
    }

    /// Begins a change, and settles how closely it is looked at.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.closely = self.random.below(CLOSELY) == 0;
        self.look()
    }

    /// Pages to change: few or many, at the front, in the middle or at the end, or all.
    pub fn choose(&mut self) -> Range<usize> {
        let pages = self.arena.pages();
        let count = 1 + self.random.below(pages.min(16));
        match self.random.below(8) {
            0 => 0..pages,
            1 | 2 => 0..count,
            3 | 4 => pages - count..pages,
            _ => {
                let start = self.random.below(pages - count + 1);
                start..start + count
            }
        }
    }

    pub fn one_of(&mut self, pages: &Range<usize>) -> usize {
        pages.start + self.random.below(pages.len())
    }

    /// Has all accesses to `pages` allowed, denied, or neither for now.
    pub fn rights(&self, pages: &Range<usize>, right: Right) {
        self.ledger.set_rights(0, pages.clone(), right, right);
    }

    /// Makes empty pages hold their new generation, by CPU or device, and publishes it.
    pub fn fill(&mut self, pages: &Range<usize>) -> Result<(), Failure> {
        if self.closely && self.random.below(2) == 0 {
            return self.fill_by_device(pages);
        }
        pages.clone().for_each(|page| self.store_stamp(page));
        self.ledger.publish(pages.clone());
        Ok(())
    }

    /// Makes pages hold their new generation and nothing of the one before, by the
    /// device if the change is looked at closely.
    pub fn overwrite(&mut self, pages: &Range<usize>) -> Result<(), Failure> {
        if self.closely {
            return self.fill_by_device(pages);
        }
        for page in pages.clone() {
            (0..WORDS).for_each(|word| self.arena.store(page, word, 0));
            self.store_stamp(page);
        }
        self.ledger.publish(pages.clone());
        Ok(())
    }

    /// Has pages `taken` away, which the device must not get at then, and `given` anew.
    pub fn without(
        &mut self,
        pages: &Range<usize>,
        taken: impl FnOnce() -> Result<(), Failure>,
        given: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.ledger.announce(pages.clone());
        self.rights(pages, Right::Changing);
        taken()?;
        self.rights(pages, Right::Denied);
        self.expect_refused(0, pages)?;
        self.rights(pages, Right::Changing);
        given()?;
        self.rights(pages, Right::Allowed);
        self.fill(pages)
    }

    fn fill_by_device(&mut self, pages: &Range<usize>) -> Result<(), Failure> {
        for first in pages.clone().step_by(LONGEST) {
            self.put(&(first..pages.end.min(first + LONGEST)))?;
        }
        self.ledger.publish(pages.clone());
        Ok(())
    }

    /// Whether the change is looked at closely.
    pub fn is_close(&self) -> bool {
        self.closely
    }

    /// Has the device write whole pages of the new generation.
    fn put(&mut self, pages: &Range<usize>) -> Result<(), Failure> {
        let ledger = self.ledger;
        let words = views::words_mut(&mut self.template);
        for (page, words) in pages.clone().zip(words.chunks_exact_mut(WORDS)) {
            STAMPS.iter().for_each(|&word| words[word] = ledger.stamp(page));
        }
        self.probe.put(&self.template, pages.clone())
    }

    fn store_stamp(&mut self, page: usize) {
        let stamp = self.ledger.stamp(page);
        STAMPS.iter().for_each(|&word| self.arena.store(page, word, stamp));
    }

    /// Has the device look at a few pages, so that it has them at hand.
    pub fn look(&mut self) -> Result<(), Failure> {
        if !self.closely {
            return Ok(());
        }
        let pages = self.arena.pages();
        let start = self.random.below(pages);
        let count = 1 + self.random.below((pages - start).min(8));
        self.probe.read(0, start..start + count)
    }

    /// Whoever still writes where pages have been taken away hits these.
    pub fn watch(&mut self) -> Result<(), Failure> {
        let expected = self.watched;
        if let Some(word) = views::words(&self.bystanders).iter().position(|&word| word != expected)
        {
            let found = views::words(&self.bystanders)[word];
            let text = format!(
                "memory that the device was never given has changed: word {} of a page, expected \
                 {expected:#x}, found {found:#x}",
                word % WORDS
            );
            return Err(Finding::new("STRAY", word / WORDS, text).into());
        }
        self.bystanders.advise(MADV_DONTNEED)?;
        self.watched += 1;
        views::words_mut(&mut self.bystanders).fill(self.watched);
        Ok(())
    }

    /// Has the device read pages, if the change is looked at closely.
    pub fn read(&mut self, place: usize, pages: Range<usize>) -> Result<(), Failure> {
        if self.closely { self.probe.read(place, pages) } else { Ok(()) }
    }

    /// Has the device add to the changer's sum in a page, likewise.
    pub fn add(&mut self, page: usize) -> Result<(), Failure> {
        if self.closely { self.probe.add(page) } else { Ok(()) }
    }

    /// The device must not get at a page of `pages` now.
    pub fn expect_refused(&mut self, place: usize, pages: &Range<usize>) -> Result<(), Failure> {
        if !self.closely {
            // Somebody else may try.
            (0..TRIES).for_each(|_| std::thread::yield_now());
            return Ok(());
        }
        let page = self.one_of(pages);
        // Anything else has been found wrong by the oracle.
        self.probe.read(place, page..page + 1)
    }
}
