// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two threads that keep step, so that neither is done before the other has begun.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// How far each is; in memory that the device does not use.
#[derive(Default)]
pub struct Pace {
    steps: [AtomicU64; 2],
    over: AtomicBool,
}

impl Pace {
    /// One of the two has done something; returns when it is at most `ahead` steps before the
    /// other, or the other has left.
    pub fn step(&self, who: usize, ahead: u64) {
        let own = self.steps[who].fetch_add(1, Ordering::Relaxed) + 1;
        while self.steps[1 - who].load(Ordering::Relaxed) + ahead < own && !self.is_over() {
            thread::yield_now();
        }
    }

    /// One of them is done, or has failed.
    pub fn leave(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
