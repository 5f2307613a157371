// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a queue knows of the words that it alone writes; `oracle` says why.

use crate::oracle::{Finding, Window};

/// Writes that ended while generation `generation` was on its way.
#[derive(Clone, Copy, Default)]
struct Late {
    generation: u64,
    writes: u64,
}

impl Late {
    fn note(&mut self, window: &Window) {
        if self.generation == window.hi {
            self.writes += 1;
        } else {
            *self = Self { generation: window.hi, writes: 1 };
        }
    }

    /// How many of them may be found in `generation`.
    fn within(&self, generation: u64) -> u64 {
        if self.generation == generation { self.writes } else { 0 }
    }
}

/// A word that atomics add 1 to.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    generation: u64,
    value: u64,
    late: Late,
}

impl Sum {
    /// An atomic has added 1 and found `old`.
    pub fn added(&mut self, page: usize, window: &Window, old: u64) -> Result<(), Finding> {
        self.seen(page, window, old)?;
        if window.is_still() {
            self.value += 1;
        } else {
            self.late.note(window);
        }
        Ok(())
    }

    /// Somebody has read `found`.
    pub fn seen(&mut self, page: usize, window: &Window, found: u64) -> Result<(), Finding> {
        if !window.is_still() {
            return Ok(());
        }
        let (least, most) = if self.generation == window.lo {
            (self.value, self.value)
        } else {
            (0, self.late.within(window.lo))
        };
        let told = |kind, what: &str| {
            let text = format!(
                "{what}: expected {least} to {most} in generation {}, found {found}",
                window.lo
            );
            Err(Finding::new(kind, page, text))
        };
        if found < least {
            return told("LOST", "atomics have been lost");
        }
        if found > most {
            return told("STALE", "atomics of another time or page");
        }
        (self.generation, self.value) = (window.lo, found);
        Ok(())
    }
}

/// A word that is written.
#[derive(Clone, Copy, Default)]
pub struct Mail {
    generation: u64,
    value: u64,
    late: Late,
}

impl Mail {
    /// `value` has been written.
    pub fn written(&mut self, window: &Window, value: u64) {
        if window.is_still() {
            (self.generation, self.value) = (window.lo, value);
        } else {
            self.late.note(window);
        }
    }

    /// Somebody has read `found`.
    pub fn seen(&self, page: usize, window: &Window, found: u64) -> Result<(), Finding> {
        if !window.is_still() {
            return Ok(());
        }
        let expected = match self.generation == window.lo {
            true => self.value,
            false if self.late.within(window.lo) > 0 => return Ok(()),
            false => 0,
        };
        if found == expected {
            return Ok(());
        }
        let kind = if found < expected { "LOST" } else { "STALE" };
        let text =
            format!("a write: expected {expected} in generation {}, found {found}", window.lo);
        Err(Finding::new(kind, page, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Right;

    fn window(lo: u64, hi: u64) -> Window {
        Window { lo, hi, read: Right::Allowed, write: Right::Allowed, met: false }
    }

    #[test]
    fn sums_are_exact_within_a_generation() {
        let mut sum = Sum::default();
        for old in 0..5 {
            sum.added(0, &window(1, 1), old).unwrap();
        }
        assert!(sum.clone().added(0, &window(1, 1), 4).is_err());
        assert!(sum.clone().seen(0, &window(1, 1), 6).is_err());
        sum.seen(0, &window(1, 1), 5).unwrap();
        // The next generation begins at 0.
        assert!(sum.clone().added(0, &window(2, 2), 5).is_err());
        sum.added(0, &window(2, 2), 0).unwrap();
    }

    #[test]
    fn an_add_during_a_change_is_on_either_side() {
        let mut sum = Sum::default();
        sum.added(0, &window(1, 1), 0).unwrap();
        sum.added(0, &window(1, 2), 1).unwrap();
        sum.added(0, &window(1, 2), 0).unwrap();
        for found in 0..=2 {
            sum.clone().seen(0, &window(2, 2), found).unwrap();
        }
        assert!(sum.clone().seen(0, &window(2, 2), 3).is_err());
        // Two generations on it can be no more.
        assert!(sum.clone().seen(0, &window(3, 3), 1).is_err());
        // Once seen, it is known.
        sum.seen(0, &window(2, 2), 2).unwrap();
        assert!(sum.seen(0, &window(2, 2), 1).is_err());
    }

    #[test]
    fn mails_are_what_was_written_last() {
        let mut mail = Mail::default();
        mail.written(&window(1, 1), 7);
        mail.seen(0, &window(1, 1), 7).unwrap();
        assert!(mail.seen(0, &window(1, 1), 6).is_err());
        assert!(mail.seen(0, &window(2, 2), 7).is_err());
        mail.seen(0, &window(2, 2), 0).unwrap();
        mail.written(&window(2, 3), 8);
        mail.seen(0, &window(3, 3), 8).unwrap();
        mail.seen(0, &window(3, 3), 0).unwrap();
        assert!(mail.seen(0, &window(4, 4), 8).is_err());
    }
}
