// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A queue whose device accesses are judged one by one.
#![allow(unsafe_code, reason = "gives the device addresses at which nothing may be")]

use crate::arena::Arena;
use crate::cells::{Mail, Sum};
use crate::layout::{self, STAMPS, WORDS};
use crate::oracle::{Before, Finding, Ledger, Right, Window};
use farfault_client::raw::DeviceFile;
use farfault_client::raw::descriptor::{self as abi, Completion};
use farfault_guest_programs::memory::{MADV_DONTFORK, PAGE, Region};
use farfault_guest_programs::random::Random;
use farfault_guest_programs::raw_queue::RawQueue;
use farfault_guest_programs::{Failure, commands, views};
use std::ops::Range;
use std::sync::Arc;

/// Pages that one command goes over at most.
pub const LONGEST: usize = 32;
/// Commands under way at once at most.
const DEPTH: usize = 4;
const ENTRIES: u32 = 8;

/// What was done.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub commands: u64,
    pub refused: u64,
    /// Commands during which a change was under way.
    pub overlapped: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.commands += other.commands;
        self.refused += other.refused;
        self.overlapped += other.overlapped;
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Reads pages: they are copied.
    Read { first: usize, count: usize },
    /// Reads and compares a stamp with that of the generation published before.
    Compare { page: usize },
    /// Adds 1 to the queue's sum.
    Add { page: usize },
    /// Writes the queue's mail.
    Mail { page: usize, value: u64 },
}

struct Posted {
    act: Act,
    place: usize,
    index: u32,
    slot: usize,
    before: Vec<Before>,
}

pub struct Accessor<'a> {
    number: usize,
    queue: RawQueue,
    arena: &'a Arena,
    ledger: &'a Ledger,
    random: Random,
    /// Where reads go to, for each command under way.
    copies: Vec<Region>,
    sums: Vec<Sum>,
    mails: Vec<Mail>,
    written: u64,
    pub tally: Tally,
}

impl<'a> Accessor<'a> {
    /// The queue called `number`, below [`layout::QUEUES`].
    pub fn new(
        device: &Arc<DeviceFile>,
        number: usize,
        arena: &'a Arena,
        ledger: &'a Ledger,
        random: Random,
    ) -> Result<Self, Failure> {
        let copies: nix::Result<Vec<_>> = (0..DEPTH)
            .map(|_| {
                let copy = Region::small_pages(LONGEST * PAGE)?;
                // A fork is dear enough without them, and children have no use for them.
                copy.advise(MADV_DONTFORK)?;
                Ok(copy)
            })
            .collect();
        Ok(Self {
            number,
            queue: RawQueue::new(device, ENTRIES)?,
            arena,
            ledger,
            random,
            copies: copies?,
            sums: vec![Sum::default(); arena.pages()],
            mails: vec![Mail::default(); arena.pages()],
            written: 0,
            tally: Tally::default(),
        })
    }

    /// Does a few random accesses at once.
    pub fn round(&mut self) -> Result<(), Failure> {
        let depth = 1 + self.random.below(DEPTH);
        let mut posted = Vec::with_capacity(depth);
        for slot in 0..depth {
            let act = self.choose();
            let place = if self.random.below(8) == 0 { self.ledger.places() - 1 } else { 0 };
            posted.push(self.post(act, place, slot, slot + 1 == depth));
        }
        self.queue.ring();
        for posted in &posted {
            self.settle(posted)?;
        }
        match posted.last() {
            // Nothing is under way: does the CPU see the same?
            Some(Posted { act: Act::Add { page }, place, .. }) => self.seen(*place, *page),
            _ => Ok(()),
        }
    }

    pub fn read(&mut self, place: usize, pages: Range<usize>) -> Result<(), Failure> {
        for first in pages.clone().step_by(LONGEST) {
            let count = LONGEST.min(pages.end - first);
            self.one(Act::Read { first, count }, place)?;
        }
        Ok(())
    }

    /// Adds to the queue's sum in a page at the first place.
    pub fn add(&mut self, page: usize) -> Result<(), Failure> {
        self.one(Act::Add { page }, 0)
    }

    /// Has the device copy whole pages of `template` into the arena.
    pub fn put(&mut self, template: &Region, pages: Range<usize>) -> Result<(), Failure> {
        let (target, length) = (self.arena.address(0, pages.start), (pages.len() * PAGE) as u64);
        // SAFETY: as in post().
        let completion =
            unsafe { self.queue.run(commands::copy(template.address(), target, length)) }?;
        if completion.status == abi::STATUS_OK {
            return Ok(());
        }
        let text = format!("the device could not write a whole page: {completion:?}");
        Err(Finding::new("REFUSED", pages.start, text).into())
    }

    /// Compares with the CPU what the queue's atomics on `page` have added up to,
    /// if it can be read.
    pub fn seen(&mut self, place: usize, page: usize) -> Result<(), Failure> {
        let Some((window, found)) = self.load(place, page, layout::sum(self.number))? else {
            return Ok(());
        };
        Ok(self.sums[page].seen(page, &window, found)?)
    }

    /// The same for what the queue has written.
    fn read_mail(&self, place: usize, page: usize) -> Result<(), Failure> {
        let Some((window, found)) = self.load(place, page, layout::mail(self.number))? else {
            return Ok(());
        };
        Ok(self.mails[page].seen(page, &window, found)?)
    }

    /// A word as the CPU has it, and what holds for it; nothing where it may be that
    /// it cannot be read.
    fn load(
        &self,
        place: usize,
        page: usize,
        word: usize,
    ) -> Result<Option<(Window, u64)>, Failure> {
        let before = self.ledger.before(place, page);
        let found = self.arena.load(place, page, word);
        let window = self.ledger.after(place, page, before);
        match found {
            Ok(found) => Ok(Some((window, found))),
            Err(_) if window.read != Right::Allowed => Ok(None),
            Err(error) => Err(format!("the CPU cannot read page {page}: {error}").into()),
        }
    }

    /// Compares with the CPU what the queue has left behind, when all else is still.
    pub fn verify(&mut self) -> Result<(), Failure> {
        for page in 0..self.arena.pages() {
            let place = usize::from(
                self.ledger.after(0, page, self.ledger.before(0, page)).read == Right::Denied,
            );
            self.seen(place, page)?;
            self.read_mail(place, page)?;
        }
        Ok(())
    }

    fn choose(&mut self) -> Act {
        let pages = self.arena.pages();
        // Half of all accesses go to a few pages, so that queues meet there.
        let hot = if self.random.below(2) == 0 { pages.min(4) } else { pages };
        let page = self.random.below(hot);
        match self.random.below(8) {
            0 | 1 => {
                let longest = LONGEST.min(pages - page);
                let count =
                    if self.random.below(2) == 0 { 1 } else { 1 + self.random.below(longest) };
                Act::Read { first: page, count }
            }
            2 => Act::Compare { page },
            _ if self.ledger.is_calm(page) => Act::Compare { page },
            3 | 4 => {
                self.written += 1;
                Act::Mail { page, value: self.written }
            }
            _ => Act::Add { page },
        }
    }

    fn one(&mut self, act: Act, place: usize) -> Result<(), Failure> {
        let posted = self.post(act, place, 0, true);
        self.queue.ring();
        self.settle(&posted)
    }

    /// Hands a command over; the `last` one of several raises an interrupt.
    fn post(&mut self, act: Act, place: usize, slot: usize, last: bool) -> Posted {
        let (first, count) = match act {
            Act::Read { first, count } => (first, count),
            Act::Compare { page } | Act::Add { page } | Act::Mail { page, .. } => (page, 1),
        };
        let before: Vec<_> =
            (first..first + count).map(|page| self.ledger.before(place, page)).collect();
        let here = self.arena.address(place, first);
        let word = |word: usize| here + word as u64 * 8;
        let descriptor = match act {
            Act::Read { .. } => {
                commands::copy(here, self.copies[slot].address(), (count * PAGE) as u64)
            }
            Act::Compare { page } => {
                let stamp = self.ledger.stamp_of(page, before[0].published);
                views::words_mut(&mut self.copies[slot])[0] = stamp;
                commands::command(abi::OP_COMPARE, self.copies[slot].address(), here, 8)
            }
            Act::Add { .. } => commands::add(word(layout::sum(self.number)), 1),
            Act::Mail { value, .. } => commands::store(word(layout::mail(self.number)), value),
        };
        let descriptor = if last { commands::interrupting(descriptor) } else { descriptor };
        // SAFETY: it touches the arena, which nobody borrows, and this queue's copies,
        // which are looked at once it has ended.
        let index = unsafe { self.queue.post(descriptor) };
        Posted { act, place, index, slot, before }
    }

    /// Waits for a command and judges it.
    fn settle(&mut self, posted: &Posted) -> Result<(), Failure> {
        let completion = self.queue.finish(posted.index)?;
        let Posted { act, place, slot, .. } = *posted;
        let (first, write) = match act {
            Act::Read { first, .. } => (first, false),
            Act::Compare { page } => (page, false),
            Act::Add { page } | Act::Mail { page, .. } => (page, true),
        };
        let windows: Vec<Window> = (first..)
            .zip(&posted.before)
            .map(|(page, before)| self.ledger.after(place, page, *before))
            .collect();
        self.tally.commands += 1;
        self.tally.overlapped += u64::from(windows.iter().any(|window| window.met));
        let through = match completion.status {
            abi::STATUS_OK => windows.len(),
            abi::STATUS_FAULT => self.refused(place, first, write, &windows, &completion)?,
            _ => return Err(format!("{act:?} ended with {completion:?}").into()),
        };
        for (page, window) in (first..).zip(&windows[..through]) {
            let right = if write { window.write } else { window.read };
            if right == Right::Denied {
                let text =
                    format!("{act:?} got through although access was denied before it began");
                return Err(Finding::new("STALE", page, text).into());
            }
            match act {
                Act::Read { .. } => self.judge_copy(page, window, slot, page - first)?,
                Act::Compare { .. } if completion.result < 8 && window.is_still() => {
                    let text = format!("compared unequal to generation {}", window.lo);
                    // It does not say what was there instead.
                    return Err(Finding::new("DIFFERS", page, text).into());
                }
                Act::Compare { .. } => {}
                Act::Add { .. } => {
                    self.sums[page].added(page, window, completion.result)?;
                }
                Act::Mail { value, .. } => self.mails[page].written(window, value),
            }
        }
        Ok(())
    }

    /// How many pages a command got through before it was refused, rightly.
    fn refused(
        &mut self,
        place: usize,
        first: usize,
        write: bool,
        windows: &[Window],
        completion: &Completion,
    ) -> Result<usize, Failure> {
        self.tally.refused += 1;
        let address = completion.fault_address;
        let base = self.arena.address(place, first);
        let through = address.checked_sub(base).map(|offset| (offset / PAGE as u64) as usize);
        let Some((through, window)) = through.and_then(|n| Some((n, windows.get(n)?))) else {
            return Err(format!(
                "an access to {address:#x} was refused, which is not in the arena"
            )
            .into());
        };
        let right = if write { window.write } else { window.read };
        if right == Right::Allowed {
            let text =
                format!("access to {address:#x} was refused although it was allowed all the time");
            return Err(Finding::new("REFUSED", first + through, text).into());
        }
        Ok(through)
    }

    fn judge_copy(
        &mut self,
        page: usize,
        window: &Window,
        slot: usize,
        offset: usize,
    ) -> Result<(), Finding> {
        let words = &views::words(&self.copies[slot])[offset * WORDS..(offset + 1) * WORDS];
        for word in STAMPS {
            self.ledger.judge_stamp(page, window, words[word])?;
        }
        self.sums[page].seen(page, window, words[layout::sum(self.number)])?;
        self.mails[page].seen(page, window, words[layout::mail(self.number)])
    }
}
