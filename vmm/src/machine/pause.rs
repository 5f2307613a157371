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
    /// A bit for each member that is to wait.
    held: u32,
    /// Nobody is to wait any more.
    closed: bool,
}

/// A thread's membership, which ends with it.
pub struct Member {
    pause: Arc<Pause>,
    bit: u32,
}

impl Pause {
    /// One more thread that is waited for, by its number, which is below 32.
    pub fn join(self: &Arc<Pause>, id: u8) -> Member {
        self.crew.lock().members += 1;
        Member { pause: Arc::clone(self), bit: 1 << id }
    }

    /// From now on threads stay here when they come by.
    pub fn begin(&self) {
        let mut crew = self.crew.lock();
        crew.held = if crew.closed { 0 } else { u32::MAX };
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
        self.end_but_for(0);
    }

    /// Lets them go on, but for those whose bits are set.
    pub fn end_but_for(&self, held: u32) {
        let mut crew = self.crew.lock();
        crew.held = if crew.closed { 0 } else { held };
        self.changed.notify_all();
    }

    /// Lets them go on for good.
    pub fn close(&self) {
        self.crew.lock().closed = true;
        self.end();
    }
}

impl Member {
    /// Stays as long as the machine stands still.
    pub fn stay(&self) {
        let mut crew = self.pause.crew.lock();
        crew.waiting += 1;
        self.pause.changed.notify_all();
        while crew.held & self.bit != 0 {
            self.pause.changed.wait(&mut crew);
        }
        crew.waiting -= 1;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.pause.crew.lock().members -= 1;
        self.pause.changed.notify_all();
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
                let (member, steps, over) = (pause.join(index), &steps, &over);
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

    #[test]
    fn one_may_go_on_while_others_wait_and_all_when_it_is_closed() {
        let (pause, passed) = (Arc::new(Pause::default()), [0; 2].map(AtomicU64::new));
        pause.begin();
        thread::scope(|scope| {
            for (id, passed) in (0..).zip(&passed) {
                let member = pause.join(id);
                scope.spawn(move || {
                    member.stay();
                    passed.store(1, Ordering::Release);
                });
            }
            pause.await_all();
            pause.end_but_for(0b01);
            while passed[1].load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
            pause.await_all();
            assert_eq!(passed[0].load(Ordering::Acquire), 0);
            pause.close();
            pause.begin();
        });
        assert_eq!(passed[0].load(Ordering::Acquire), 1);
    }
}
