// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fault queue: a driver that sleeps until it is interrupted misses no
//! record, and a record that waits for room gets it.

use crate::fault_queue::{Word, overflow, publish};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, fence};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// The device reads head without a fence after it wrote tail.
    DeviceHasNoFence,
    /// The driver reads tail without a fence after it wrote head.
    DriverHasNoFence,
    /// The driver does not look at tail again after it has moved head.
    DriverLooksOnce,
    /// The device does not look at head again after it has said that there is no room.
    NoSecondLook,
    /// The driver does not look at the count of overflows.
    DriverIgnoresOverflows,
}

impl Word for AtomicU32 {
    fn acquire(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    fn release(&self, value: u32) {
        self.store(value, Ordering::Release);
    }
}

/// An interrupt or a doorbell: remembered until it is waited for.
struct Line {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Line {
    fn new() -> Self {
        Self { raised: Mutex::new(false), changed: Condvar::new() }
    }

    fn raise(&self) {
        *self.raised.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut raised = self.raised.lock().unwrap();
        while !*raised {
            raised = self.changed.wait(raised).unwrap();
        }
        *raised = false;
    }
}

struct World {
    entries: Vec<UnsafeCell<u32>>,
    tail: AtomicU32,
    head: AtomicU32,
    overflows: AtomicU32,
    interrupt: Line,
    doorbell: Line,
}

const RECORDS: u32 = 2;

fn device(world: &World, bug: Bug) {
    let entries = world.entries.len() as u32;
    for tail in 0..RECORDS {
        let mut counted = false;
        let is_full = |head: u32| tail - head == entries;
        while is_full(world.head.acquire()) {
            if !counted {
                counted = true;
                let head = overflow(&world.overflows, &world.head, tail);
                if bug != Bug::NoSecondLook && !is_full(head) {
                    break;
                }
            }
            world.doorbell.wait();
        }
        world.entries[(tail % entries) as usize].with_mut(|_| ());
        let was_empty = if bug == Bug::DeviceHasNoFence {
            world.tail.release(tail + 1);
            world.head.acquire() == tail
        } else {
            publish(&world.tail, &world.head, tail, tail + 1)
        };
        if was_empty {
            world.interrupt.raise();
        }
    }
}

fn driver(world: &World, bug: Bug) {
    let entries = world.entries.len() as u32;
    let (mut head, mut overflows) = (0, 0);
    while head < RECORDS {
        world.interrupt.wait();
        let mut tail = world.tail.acquire();
        while head != tail {
            while head != tail {
                world.entries[(head % entries) as usize].with(|_| ());
                head += 1;
            }
            world.head.release(head);
            if bug != Bug::DriverHasNoFence {
                fence(Ordering::SeqCst);
            }
            let seen = world.overflows.acquire();
            if seen != overflows && bug != Bug::DriverIgnoresOverflows {
                overflows = seen;
                world.doorbell.raise();
            }
            if bug != Bug::DriverLooksOnce {
                tail = world.tail.acquire();
            }
        }
    }
}

fn model(entries: usize, bug: Bug) {
    super::explore(3, move || {
        let world = Arc::new(World {
            entries: (0..entries).map(|_| UnsafeCell::new(0)).collect(),
            tail: AtomicU32::new(0),
            head: AtomicU32::new(0),
            overflows: AtomicU32::new(0),
            interrupt: Line::new(),
            doorbell: Line::new(),
        });
        let other = world.clone();
        let device = thread::spawn(move || device(&other, bug));
        driver(&world, bug);
        device.join().unwrap();
    });
}

#[test]
fn no_record_is_missed() {
    model(2, Bug::None);
}

#[test]
fn a_record_that_waits_gets_room() {
    model(1, Bug::None);
}

finds! {
    finds_a_device_without_a_fence: model(2, Bug::DeviceHasNoFence), "deadlock";
    finds_a_driver_without_a_fence: model(2, Bug::DriverHasNoFence), "deadlock";
    finds_a_driver_that_looks_once: model(2, Bug::DriverLooksOnce), "deadlock";
    finds_a_device_that_looks_once_for_room: model(1, Bug::NoSecondLook), "deadlock";
    finds_a_driver_that_ignores_overflows: model(1, Bug::DriverIgnoresOverflows), "deadlock";
}
