// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The scheduler: no doorbell and no page response is lost, and a queue that
//! was disabled is in no engine's hands.

use crate::access::Access;
use crate::fault_queue::{FaultQueue, Group};
use crate::gate::Term;
use crate::queue::{Binding, Run};
use crate::ring::Ring;
use crate::scheduler::{Pick, Response, Scheduler};
use crate::section::PageFault;
use crate::sync::Mutex;
use farfault_abi::descriptor::Descriptor;
use farfault_abi::fault::REASON_NOT_PRESENT;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// The program rings before it has moved its tail.
    RingsEarly,
    /// The engine looks at the tail before it picks the queue.
    LooksEarly,
    /// The engine posts the fault before it parks the queue.
    PostsEarly,
    /// A group takes the place of whichever waits.
    LastComes,
    /// The engine has still to do with the queue after it gave it back.
    HoldsOn,
}

const EPOCH: u64 = 1;
const TERM: Term = Term { epoch: EPOCH, memories: 0 };
const FAULT: PageFault =
    PageFault { address: 0, access: Access::READ, reason: REASON_NOT_PRESENT, level: 0 };

struct World {
    scheduler: Scheduler,
    /// Of the ring, or, where faults are looked at, of the fault queue.
    tail: AtomicU32,
    /// What an engine that runs the queue works on.
    memory: UnsafeCell<u32>,
}

impl World {
    fn new() -> Arc<Self> {
        let scheduler = Scheduler::new();
        scheduler.begin_epoch(EPOCH);
        scheduler.set_bus_master(true);
        let ring = Ring::new(0x1000, 2, Descriptor::SIZE).unwrap();
        let binding = Binding { queue: 0, pasid: 1, ring, vector: 2 };
        assert!(scheduler.enable(binding, EPOCH));
        Arc::new(Self { scheduler, tail: AtomicU32::new(0), memory: UnsafeCell::new(0) })
    }

    /// Waits for the queue as an engine does; nothing once the device is stopped.
    fn pick(&self) -> Option<Box<Run>> {
        loop {
            match self.scheduler.pick(TERM) {
                Pick::Run(run) => return Some(run),
                _ if !self.scheduler.wait_for_work(TERM) => return None,
                _ => {}
            }
        }
    }
}

/// A program submits twice; the engine has to see both.
fn doorbells(bug: Bug) {
    super::explore(3, move || {
        let world = World::new();
        let program = {
            let world = world.clone();
            thread::spawn(move || {
                for tail in 1..=2 {
                    if bug == Bug::RingsEarly {
                        world.scheduler.ring(0);
                    }
                    world.tail.store(tail, Ordering::Release);
                    if bug != Bug::RingsEarly {
                        world.scheduler.ring(0);
                    }
                }
            })
        };
        let mut head = 0;
        while head < 2 {
            let early = world.tail.load(Ordering::Acquire);
            let run = world.pick().unwrap();
            let late = world.tail.load(Ordering::Acquire);
            head = if bug == Bug::LooksEarly { early } else { late };
            world.scheduler.idle(run);
        }
        program.join().unwrap();
    });
}

/// The engine parks a queue; the driver answers as soon as it sees the fault.
fn responses(bug: Bug) {
    super::explore(3, move || {
        let world = World::new();
        let driver = {
            let world = world.clone();
            thread::spawn(move || {
                while world.tail.load(Ordering::Acquire) == 0 {
                    thread::yield_now();
                }
                let response = world.scheduler.respond(0, 1, None);
                assert!(response == Response::Taken, "the queue waits for ever");
            })
        };
        world.scheduler.ring(0);
        let run = world.pick().unwrap();
        if bug == Bug::PostsEarly {
            world.tail.store(1, Ordering::Release);
        }
        assert!(world.scheduler.park(run, 1, FAULT));
        world.tail.store(1, Ordering::Release);
        world.scheduler.posted(0, EPOCH);
        driver.join().unwrap();
        assert!(world.pick().is_some());
    });
}

/// The command processor disables a queue that an engine may be running.
fn disabling(bug: Bug) {
    super::explore(3, move || {
        let world = World::new();
        world.scheduler.ring(0);
        let engine = {
            let world = world.clone();
            thread::spawn(move || {
                if let Pick::Run(run) = world.scheduler.pick(TERM) {
                    world.memory.with_mut(|_| ());
                    world.scheduler.requeue(run);
                    if bug == Bug::HoldsOn {
                        world.memory.with_mut(|_| ());
                    }
                }
            })
        };
        while !world.scheduler.disable(0) {
            world.scheduler.wait_for_kick();
        }
        world.memory.with_mut(|_| ());
        engine.join().unwrap();
        assert!(matches!(world.scheduler.pick(TERM), Pick::Nothing));
    });
}

/// A driver answers a group that it has not seen, so that two engines park the queue
/// in turn and hold a group of it each. The one that the queue waits for is kept.
fn guesses(bug: Bug) {
    super::explore(3, move || {
        let world = World::new();
        let faults = Arc::new(Mutex::new(FaultQueue::default()));
        let engine = {
            let (world, faults) = (world.clone(), faults.clone());
            move || {
                let Pick::Run(mut run) = world.scheduler.pick(TERM) else { return };
                let group = run.next_group();
                if world.scheduler.park(run, group, FAULT) {
                    let mut faults = faults.lock();
                    if bug == Bug::LastComes {
                        faults.forget(0);
                    }
                    faults.push(Group::new(0, group, Vec::new()));
                }
                world.scheduler.posted(0, EPOCH);
            }
        };
        world.scheduler.ring(0);
        let engines = [thread::spawn(engine.clone()), thread::spawn(engine.clone())];
        world.scheduler.respond(0, 1, None);
        engines.into_iter().for_each(|engine| engine.join().unwrap());
        engine();
        let kept = faults.lock().waiting_group(0).unwrap();
        let response = world.scheduler.respond(0, kept, None);
        assert!(response == Response::Taken, "the queue waits for a group that is lost");
    });
}

#[test]
fn no_group_is_lost() {
    guesses(Bug::None);
}

#[test]
fn no_doorbell_is_lost() {
    doorbells(Bug::None);
}

#[test]
fn no_response_is_lost() {
    responses(Bug::None);
}

#[test]
fn a_disabled_queue_is_in_nobodys_hands() {
    disabling(Bug::None);
}

finds! {
    finds_a_group_that_replaces_a_later_one:
        guesses(Bug::LastComes), "the queue waits for a group that is lost";
    finds_a_program_that_rings_early: doorbells(Bug::RingsEarly), "deadlock";
    finds_an_engine_that_looks_early: doorbells(Bug::LooksEarly), "deadlock";
    finds_an_engine_that_posts_early: responses(Bug::PostsEarly), "the queue waits for ever";
    finds_an_engine_that_holds_on: disabling(Bug::HoldsOn), "Causality violation";
}
