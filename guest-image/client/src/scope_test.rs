// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Scopes against a fake device: nothing leaves one before the device is done,
//! whatever happens inside.

use crate::fake::Fake;
use crate::{Error, Queue};
use farfault_abi::descriptor::{Descriptor, OP_FETCH_ADD, OP_NOP, STATUS_OK};
use proptest::collection::vec;
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs `body` with a queue of a device that does nothing before the submitter has
/// gone to sleep in the kernel.
fn with_late_device(body: impl FnOnce(&mut Queue)) {
    let fake = Fake::new();
    fake.set(|state| state.budget = Some(0));
    std::thread::scope(|threads| {
        threads.spawn(|| fake.release_at(1));
        body(&mut fake.queue(8));
    });
}

#[test]
fn buffers_come_back_from_their_fences() {
    let fake = Fake::new();
    let mut queue = fake.queue(8);
    let (mut first, mut second) = (vec![0_u8; 100], vec![0_u8; 100]);
    queue
        .scope(|s| {
            let one = s.fill(&mut first, 1)?;
            let two = s.fill(&mut second, 2)?;
            let two = two.wait()?;
            let one = one.wait()?;
            one[0] = two[0];
            let again = s.copy(one, two)?.wait()?;
            again[99] = 7;
            Ok(())
        })
        .unwrap();
    assert_eq!((first[0], first[1]), (2, 1));
    assert_eq!((second[0], second[1], second[99]), (2, 1, 7));
}

#[test]
fn the_scope_waits_for_fences_that_were_dropped_or_leaked() {
    let (mut dropped, mut leaked) = ([0_u64; 64], [0_u64; 64]);
    with_late_device(|queue| {
        let result = queue.scope(|s| {
            drop(s.fill(&mut dropped, 1)?);
            std::mem::forget(s.fill(&mut leaked, 2)?);
            Ok(())
        });
        result.unwrap();
    });
    assert_eq!((dropped, leaked), ([1; 64], [2; 64]));
}

#[test]
fn the_scope_waits_when_its_body_panics() {
    let mut buffer = [0_u64; 64];
    with_late_device(|queue| {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            queue.scope(|s| -> Result<(), Error> {
                let _filled = s.fill(&mut buffer, 3)?;
                panic!("on purpose");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(buffer, [3; 64]);
        queue.nop().unwrap();
    });
}

#[test]
fn the_scope_waits_when_its_body_fails() {
    let mut buffer = [0_u64; 64];
    with_late_device(|queue| {
        let result = queue.scope(|s| -> Result<(), Error> {
            let _filled = s.fill(&mut buffer, 4)?;
            Err(Error::Entries(9))
        });
        assert!(matches!(result, Err(Error::Entries(9))));
    });
    assert_eq!(buffer, [4; 64]);
}

#[test]
fn a_halt_ends_the_scope_only_after_the_queue_is_destroyed() {
    let fake = Fake::new();
    let mut queue = fake.queue(8);
    fake.set(|state| (state.budget, state.halt_on) = (Some(0), Some(OP_NOP)));
    let mut buffer = [0_u64; 8];
    let word = AtomicU64::new(0);
    let result = queue.scope(|s| {
        let filled = s.fill(&mut buffer, 5)?;
        let _ = s.nop()?;
        let after = s.fetch_add(&word, 1)?;
        fake.set(|state| state.budget = None);
        let filled = filled.wait()?; // done before the halt
        assert_eq!(filled[7], 5);
        let error = after.wait().unwrap_err();
        assert!(matches!(error, Error::Halted { queue: 0 }));
        assert_eq!(fake.state().destroyed, 0);
        Ok(())
    });
    // Nobody waited for the nop, so the scope tells.
    assert!(matches!(result, Err(Error::Halted { queue: 0 })));
    assert_eq!(fake.state().destroyed, 1);
    assert_eq!(word.load(Ordering::Relaxed), 0);
}

#[test]
fn the_first_failure_nobody_asked_for_is_the_scopes() {
    let fake = Fake::new();
    let mut queue = fake.queue(2);
    let word = AtomicU64::new(0);
    let result = queue.scope(|s| {
        for opcode in [200, 201] {
            let wrong = Descriptor { opcode, ..Descriptor::default() };
            // SAFETY: an unknown opcode accesses nothing.
            #[allow(unsafe_code)]
            drop(unsafe { s.submit_raw(wrong) }?);
        }
        for _ in 0..10 {
            let _ = s.fetch_add(&word, 1)?;
        }
        Ok(())
    });
    assert_eq!(result.unwrap_err().to_string(), "opcode 200 is unknown to the device");
    assert_eq!(word.load(Ordering::Relaxed), 10);
    queue.nop().unwrap();
}

#[test]
fn a_failure_that_was_asked_for_is_not_told_again() {
    let fake = Fake::new();
    let mut queue = fake.queue(2);
    let result = queue.scope(|s| {
        let wrong = Descriptor { opcode: 200, ..Descriptor::default() };
        // SAFETY: an unknown opcode accesses nothing.
        #[allow(unsafe_code)]
        let pending = unsafe { s.submit_raw(wrong) }?;
        assert!(pending.wait().is_err());
        Ok(())
    });
    result.unwrap();
}

#[test]
fn fences_can_be_asked_in_any_order_and_without_waiting() {
    let fake = Fake::new();
    fake.set(|state| state.budget = Some(2));
    let mut queue = fake.queue(8);
    let word = AtomicU64::new(0);
    queue
        .scope(|s| {
            let fences = [s.fetch_add(&word, 1)?, s.fetch_add(&word, 1)?, s.fetch_add(&word, 1)?];
            while !fences[1].is_done() {
                std::thread::yield_now();
            }
            assert_eq!(fences.each_ref().map(super::Pending::is_done), [true, true, false]);
            fake.set(|state| state.budget = None);
            let [first, second, third] = fences;
            assert_eq!(third.wait()?, 2);
            assert!(first.is_done());
            assert_eq!(first.wait()?, 0);
            assert_eq!(second.wait()?, 1);
            Ok(())
        })
        .unwrap();
}

/// What a program does with a fence it was given.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Waited,
    WaitedAtTheEnd,
    Dropped,
    Leaked,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Waited),
        Just(Fate::WaitedAtTheEnd),
        Just(Fate::Dropped),
        Just(Fate::Leaked)
    ]
}

proptest! {
    /// Whatever happens to the fences, each command is done once and in order,
    /// and each answer goes to the one who asked.
    #[test]
    fn answers_find_their_fences(
        scopes in vec(vec(fate(), 0..40), 1..5),
        entries in 1_u32..5,
        first in any::<u32>(),
    ) {
        let fake = Fake::new();
        let mut queue = Queue::new(fake.kernel(), 1 << entries, first).unwrap();
        let word = AtomicU64::new(0);
        let mut number = 0;
        for fates in scopes {
            queue.scope(|s| {
                let mut late = Vec::new();
                for fate in fates {
                    let pending = s.fetch_add(&word, 1)?;
                    match fate {
                        Fate::Waited => assert_eq!(pending.wait()?, number),
                        Fate::WaitedAtTheEnd => late.push((number, pending)),
                        Fate::Dropped => drop(pending),
                        Fate::Leaked => std::mem::forget(pending),
                    }
                    number += 1;
                }
                for (number, pending) in late.into_iter().rev() {
                    assert_eq!(pending.wait()?, number);
                }
                Ok(())
            }).unwrap();
            prop_assert_eq!(word.load(Ordering::Relaxed), number);
        }
        prop_assert!(fake.state().deepest <= 1 << entries);
    }
}

#[test]
fn a_raw_descriptor_gives_the_whole_record() {
    let fake = Fake::new();
    let mut queue = fake.queue(8);
    let word = AtomicU64::new(40);
    let add = Descriptor {
        opcode: OP_FETCH_ADD as u8,
        destination: word.as_ptr().expose_provenance() as u64,
        operand: 2,
        ..Descriptor::default()
    };
    // SAFETY: the word outlives the scope and is atomic.
    #[allow(unsafe_code)]
    let record = queue.scope(|s| unsafe { s.submit_raw(add) }?.wait()).unwrap();
    assert_eq!((record.status, record.result, record.fence), (STATUS_OK, 40, 1));
    assert_eq!(word.load(Ordering::Relaxed), 42);
}
