// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which values a device access may see.
//!
//! Every page has a generation. Who is about to replace its contents announces
//! the next one, and publishes it once the change has returned and the page is
//! stamped. Who has the device access a page notes what was published before
//! the command is submitted, `lo`, and what is announced once it has ended, `hi`.
//! Whatever the command found in the page is of one of the generations from `lo`
//! to `hi`: an older one was gone before the device was asked, so it is STALE;
//! nothing at all (zero) is possible only while one is on its way, so where `lo`
//! is `hi` it is LOST. The same goes for rights: they are announced as changing,
//! then published, and a device that gets through where access was denied from
//! before to after has used a STALE translation.
//!
//! What one queue alone writes is known exactly: as long as the generation stays
//! the same, a sum must be what its atomics add up to. A write during a change
//! may have gone to either side of it, so it may or may not be found in the
//! generation that was announced when it had ended, and certainly is in no later
//! one. There are no false alarms as all bounds are taken outside of the accesses
//! that they bound; and with changes of a few pages at a time nearly all windows
//! have `lo` equal to `hi`, and so one value that is right.

use crate::layout;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Places at which the pages can be mapped.
pub const PLACES: usize = 2;

/// Whether an access may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It must.
    Allowed,
    /// It must not.
    Denied,
    /// Either.
    Changing,
}

impl Right {
    fn of(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Allowed,
            1 => Self::Denied,
            _ => Self::Changing,
        }
    }
}

/// What was found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    kind: &'static str,
    page: usize,
    what: String,
}

impl Finding {
    pub fn new(kind: &'static str, page: usize, what: impl Into<String>) -> Self {
        Self { kind, page, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} page {}: {}", self.kind, self.page, self.what)
    }
}

impl std::error::Error for Finding {}

#[derive(Default)]
struct Page {
    announced: AtomicU64,
    published: AtomicU64,
    /// For each place a count of changes, and in the low bits the rights.
    rights: [AtomicU64; PLACES],
}

/// All pages, as announced and published.
pub struct Ledger {
    salt: u64,
    pages: Vec<Page>,
    /// Pages that only the changer writes, equal in pairs.
    calm: Range<usize>,
    /// Places at which workers look for pages.
    places: usize,
    /// How often a change has begun or ended: odd while one is under way.
    turns: AtomicU64,
}

/// What was noted before an access.
#[derive(Clone, Copy)]
pub struct Before {
    /// The generation that was published.
    pub published: u64,
    rights: u64,
    turns: u64,
}

/// What holds for an access, from before it to after it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub lo: u64,
    pub hi: u64,
    pub read: Right,
    pub write: Right,
    /// Whether a change was under way at any moment of it.
    pub met: bool,
}

impl Window {
    /// Whether no change of the contents overlaps it.
    pub fn is_still(&self) -> bool {
        self.lo == self.hi
    }
}

impl Ledger {
    /// `count` pages of generation 1, accessible at the first place only.
    pub fn new(salt: u64, count: usize) -> Self {
        let pages = (0..count).map(|_| Page::default()).collect();
        let ledger = Self { salt, pages, calm: 0..0, places: 1, turns: AtomicU64::new(0) };
        ledger.announce(0..count);
        ledger.publish(0..count);
        for place in 1..PLACES {
            ledger.set_rights(place, 0..count, Right::Denied, Right::Denied);
        }
        ledger
    }

    /// The same, with pages that only the changer writes, equal in pairs.
    pub fn with_calm(self, calm: Range<usize>) -> Self {
        Self { calm, ..self }
    }

    /// The same, with pages looked for at every place.
    pub fn at_all_places(self) -> Self {
        Self { places: PLACES, ..self }
    }

    /// Places at which workers look for pages.
    pub fn places(&self) -> usize {
        self.places
    }

    /// Whether queues of workers leave the page as it is.
    pub fn is_calm(&self, page: usize) -> bool {
        self.calm.contains(&page)
    }

    /// A change begins, or ends.
    pub fn turn(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
    }

    /// The contents of these pages are about to be replaced.
    pub fn announce(&self, pages: Range<usize>) {
        for page in &self.pages[pages] {
            page.announced.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// They have been.
    pub fn publish(&self, pages: Range<usize>) {
        for page in &self.pages[pages] {
            page.published.store(page.announced.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    /// All that was announced has been published; else the windows of later accesses would
    /// stay open, and hide what is stale.
    pub fn is_settled(&self) -> Result<(), Finding> {
        let open = self.pages.iter().position(|page| {
            page.published.load(Ordering::SeqCst) != page.announced.load(Ordering::SeqCst)
        });
        match open {
            Some(page) => Err(Finding::new("OPEN", page, "announced and not published")),
            None => Ok(()),
        }
    }

    pub fn set_rights(&self, place: usize, pages: Range<usize>, read: Right, write: Right) {
        let bits = (write as u64) << 2 | read as u64;
        for page in &self.pages[pages] {
            let count = page.rights[place].load(Ordering::SeqCst) >> 4;
            page.rights[place].store((count + 1) << 4 | bits, Ordering::SeqCst);
        }
    }

    /// The stamp of the newest generation.
    pub fn stamp(&self, page: usize) -> u64 {
        self.stamp_of(page, self.pages[page].announced.load(Ordering::SeqCst))
    }

    /// The stamp of a generation.
    pub fn stamp_of(&self, page: usize, generation: u64) -> u64 {
        layout::stamp(self.salt, self.identity(page), generation)
    }

    fn identity(&self, page: usize) -> usize {
        if self.is_calm(page) { page & !1 } else { page }
    }

    /// To be called before a command is submitted.
    pub fn before(&self, place: usize, page: usize) -> Before {
        let page = &self.pages[page];
        Before {
            published: page.published.load(Ordering::SeqCst),
            rights: page.rights[place].load(Ordering::SeqCst),
            turns: self.turns.load(Ordering::SeqCst),
        }
    }

    /// To be called when it has ended.
    pub fn after(&self, place: usize, page: usize, before: Before) -> Window {
        let page = &self.pages[page];
        let still = page.rights[place].load(Ordering::SeqCst) == before.rights;
        let right = |bits| if still { Right::of(bits) } else { Right::Changing };
        Window {
            lo: before.published,
            hi: page.announced.load(Ordering::SeqCst),
            read: right(before.rights),
            write: right(before.rights >> 2),
            met: before.turns % 2 == 1 || self.turns.load(Ordering::SeqCst) != before.turns,
        }
    }

    /// A word of `page` that holds stamps was `found`.
    pub fn judge_stamp(&self, page: usize, window: &Window, found: u64) -> Result<(), Finding> {
        let Window { lo, hi, .. } = *window;
        let expected = if lo == hi { lo.to_string() } else { format!("{lo} to {hi}") };
        let (kind, found) = match layout::generation(self.salt, self.identity(page), found) {
            Some(generation) if (lo..=hi).contains(&generation) => return Ok(()),
            Some(early) if early > hi => ("EARLY", early.to_string()),
            Some(stale) => ("STALE", stale.to_string()),
            None if found == 0 && lo < hi => return Ok(()),
            None if found == 0 => ("LOST", "an empty page".to_owned()),
            None => ("STALE", format!("{found:#x}, which is not its stamp")),
        };
        Err(Finding::new(kind, page, format!("expected generation {expected}, found {found}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_bounded_from_both_sides() {
        let ledger = Ledger::new(0, 4);
        let kind = |window: &Window, found| {
            ledger.judge_stamp(2, window, found).err().map(|finding| finding.kind)
        };
        let before = ledger.before(0, 2);
        let still = ledger.after(0, 2, before);
        assert_eq!(kind(&still, ledger.stamp_of(2, 1)), None);
        assert_eq!(kind(&still, 0), Some("LOST"));
        assert_eq!(kind(&still, ledger.stamp_of(2, 2)), Some("EARLY"));
        assert_eq!(kind(&still, ledger.stamp_of(3, 1)), Some("STALE"));
        ledger.announce(1..3);
        let overlapped = ledger.after(0, 2, before);
        for found in [ledger.stamp_of(2, 1), ledger.stamp_of(2, 2), 0] {
            assert_eq!(kind(&overlapped, found), None);
        }
        ledger.publish(1..3);
        let before = ledger.before(0, 2);
        let newer = ledger.after(0, 2, before);
        assert_eq!(kind(&newer, ledger.stamp_of(2, 1)), Some("STALE"));
    }

    #[test]
    fn rights_that_changed_meanwhile_may_be_either() {
        let ledger = Ledger::new(0, 1);
        let before = ledger.before(0, 0);
        assert_eq!(ledger.after(0, 0, before).read, Right::Allowed);
        assert_eq!(ledger.after(1, 0, ledger.before(1, 0)).write, Right::Denied);
        ledger.set_rights(0, 0..1, Right::Allowed, Right::Denied);
        ledger.set_rights(0, 0..1, Right::Allowed, Right::Allowed);
        assert_eq!(ledger.after(0, 0, before).write, Right::Changing);
        assert_eq!(ledger.after(0, 0, ledger.before(0, 0)).write, Right::Allowed);
    }

    #[test]
    fn a_window_meets_the_changes_that_it_overlaps() {
        let ledger = Ledger::new(0, 1);
        let met = |before| ledger.after(0, 0, before).met;
        let earlier = ledger.before(0, 0);
        assert!(!met(earlier));
        ledger.turn();
        let within = ledger.before(0, 0);
        assert!(met(earlier) && met(within));
        ledger.turn();
        assert!(met(earlier) && met(within) && !met(ledger.before(0, 0)));
    }

    #[test]
    fn calm_pages_are_equal_in_pairs() {
        let ledger = Ledger::new(0, 8).with_calm(4..8);
        assert_eq!(ledger.stamp(4), ledger.stamp(5));
        assert_ne!(ledger.stamp(2), ledger.stamp(3));
    }
}
