// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keeps the meddler in step with the workers: one meddling a round, so that on
//! a slow machine they do not drown in it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How far the workers of a process have come.
#[derive(Default)]
pub struct Pace {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rounds: u64,
    over: bool,
}

impl Pace {
    /// A worker has done a round.
    pub fn round_done(&self) {
        self.state().rounds += 1;
        self.changed.notify_all();
    }

    /// All workers are done, or one has failed.
    pub fn end(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    /// Whether it is time to stop.
    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// Returns once more than `seen` rounds are done; false if it is over.
    pub fn await_more(&self, seen: u64) -> bool {
        let waiting = |state: &mut State| !state.over && state.rounds <= seen;
        let state = self.changed.wait_while(self.state(), waiting);
        !state.unwrap_or_else(PoisonError::into_inner).over
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves two plain numbers as they were.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
