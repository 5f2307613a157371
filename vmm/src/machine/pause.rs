// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where vCPU threads wait while the machine stands still.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

#[derive(Default)]
pub struct Pause {
    crew: Mutex<Crew>,
    changed: Condvar,
}

#[derive(Default)]
struct Crew {
    /// Threads that run a vCPU, or wait here.
    members: usize,
    waiting: usize,
    wanted: bool,
}

/// A thread's membership, which ends with it.
pub struct Member(Arc<Pause>);

impl Pause {
    /// One more thread that is waited for.
    pub fn join(self: &Arc<Pause>) -> Member {
        self.crew.lock().members += 1;
        Member(Arc::clone(self))
    }

    /// From now on threads stay here when they come by.
    pub fn begin(&self) {
        self.crew.lock().wanted = true;
    }

    /// Returns when all threads are here, or have ended.
    pub fn await_all(&self) {
        let mut crew = self.crew.lock();
        while crew.waiting < crew.members {
            self.changed.wait(&mut crew);
        }
    }

    /// Lets them go on.
    pub fn end(&self) {
        self.crew.lock().wanted = false;
        self.changed.notify_all();
    }
}

impl Member {
    /// Stays as long as the machine stands still.
    pub fn stay(&self) {
        let mut crew = self.0.crew.lock();
        crew.waiting += 1;
        self.0.changed.notify_all();
        while crew.wanted {
            self.0.changed.wait(&mut crew);
        }
        crew.waiting -= 1;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.crew.lock().members -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    #[test]
    fn nobody_moves_in_a_pause_and_the_dead_are_not_waited_for() {
        let (pause, steps, over) =
            (Arc::new(Pause::default()), AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for index in 0..3 {
                let (member, steps, over) = (pause.join(), &steps, &over);
                scope.spawn(move || {
                    while index > 0 && !over.load(Ordering::Relaxed) {
                        steps.fetch_add(1, Ordering::Relaxed);
                        member.stay();
                    }
                });
            }
            for _ in 0..100 {
                pause.begin();
                pause.await_all();
                let before = steps.load(Ordering::Relaxed);
                thread::yield_now();
                assert_eq!(steps.load(Ordering::Relaxed), before);
                pause.end();
            }
            over.store(true, Ordering::Relaxed);
        });
        pause.begin();
        pause.await_all();
    }
}
