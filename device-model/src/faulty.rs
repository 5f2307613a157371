// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device that goes wrong with copies of its own memory, as its configuration says.
//!
//! It is for tests of drivers. All copies that touch device memory since the last
//! reset count, whosever they are.

use crate::config::DeviceConfig;
use std::sync::atomic::{AtomicU64, Ordering};

/// What becomes of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Made,
    /// It ends with STATUS_FAULT, and nothing is copied.
    Fails,
    /// It never ends.
    Stuck,
}

/// Which copies go wrong.
pub struct Faulty {
    failing: Option<u64>,
    stuck: Option<u64>,
    copies: AtomicU64,
}

impl Faulty {
    pub fn new(config: &DeviceConfig) -> Self {
        let some = |number| (number > 0).then_some(number);
        Self {
            failing: some(config.failing_copies),
            stuck: some(config.stuck_copy),
            copies: AtomicU64::new(0),
        }
    }

    /// Whether any do.
    pub fn is_any(&self) -> bool {
        self.failing.is_some() || self.stuck.is_some()
    }

    /// Begins to count anew.
    pub fn restart(&self) {
        self.copies.store(0, Ordering::Relaxed);
    }

    /// Of the next copy that touches device memory.
    pub fn judge(&self) -> Verdict {
        let number = self.copies.fetch_add(1, Ordering::Relaxed) + 1;
        match (self.stuck, self.failing) {
            (Some(stuck), _) if stuck == number => Verdict::Stuck,
            (_, Some(failing)) if failing <= number => Verdict::Fails,
            _ => Verdict::Made,
        }
    }
}
