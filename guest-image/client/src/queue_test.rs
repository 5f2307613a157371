// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Queues against a fake device: every command, wrap-around, flow control,
//! and how failures are told.

use crate::fake::Fake;
use crate::{Advice, Device, Error, Failure, Memory, Node, Queue};
use farfault_abi::uapi::MIGRATE_SYSTEM;
use nix::errno::Errno;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn every_command_does_its_work() {
    let fake = Fake::new();
    let mut queue = fake.queue(4);
    queue.nop().unwrap();

    let word = AtomicU64::new(5);
    queue.fence(&word, 7).unwrap();
    assert_eq!(queue.fetch_add(&word, u64::MAX).unwrap(), 7);
    assert_eq!(word.load(Ordering::Relaxed), 6);

    let source: Vec<u32> = (0..1000).collect();
    let mut copy = vec![0; 1000];
    queue.copy(&source, &mut copy).unwrap();
    assert_eq!(copy, source);
    assert_eq!(queue.compare(&source, &copy).unwrap(), None);
    copy[500] ^= 0x0100_0000; // differs only in its last byte
    assert_eq!(queue.compare(&source, &copy).unwrap(), Some(500));
    queue.fill(&mut copy, 0x0102_0304).unwrap();
    assert!(copy.iter().all(|&value| value == 0x0102_0304));

    let text = b"  four words,\tin\r\nall ";
    assert_eq!(queue.word_count(text).unwrap(), 4);
    let mut counts = [9; 256];
    queue.histogram(text, &mut counts).unwrap();
    assert_eq!((counts[b'l' as usize], counts[0], counts[b' ' as usize]), (2, 0, 4));

    let x = [1.5_f32, -2.0, 0.1];
    let mut y = [1.0_f32, 2.0, 3.0];
    let expected = [1.0 + 3.0 * 1.5, 2.0 + 3.0 * -2.0, 3.0 + 3.0 * 0.1_f32];
    queue.saxpy(3.0, &x, &mut y).unwrap();
    assert_eq!(y.map(f32::to_bits), expected.map(f32::to_bits));

    let nodes: Vec<_> = (1..=10).map(Node::new).collect();
    for pair in nodes.windows(2) {
        pair[0].link(&pair[1]);
    }
    let chased = queue.chase(&nodes[0], 100).unwrap();
    assert_eq!((chased.sum, chased.nodes), (55, 10));
    let chased = queue.chase(&nodes[0], 3).unwrap();
    assert_eq!((chased.sum, chased.nodes), (6, 3));
    assert_eq!(nodes[8].next().map(Node::value), Some(10));
}

#[test]
fn empty_operands_are_commands_too() {
    let fake = Fake::new();
    let mut queue = fake.queue(2);
    queue.copy::<u64>(&[], &mut []).unwrap();
    assert_eq!(queue.compare::<u64>(&[], &[]).unwrap(), None);
    assert_eq!(queue.word_count(&[]).unwrap(), 0);
}

#[test]
fn indices_wrap_at_the_end_of_the_ring_and_of_32_bits() {
    let fake = Fake::new();
    let mut queue = Queue::new(fake.kernel(), 4, u32::MAX - 5).unwrap();
    let word = AtomicU64::new(0);
    for round in 0..20 {
        assert_eq!(queue.fetch_add(&word, 1).unwrap(), round);
    }
    assert_eq!(fake.state().doorbells, 20);
}

#[test]
fn a_full_ring_holds_the_submitter_back() {
    let fake = Fake::new();
    fake.set(|state| state.budget = Some(0));
    let mut queue = fake.queue(4);
    let word = AtomicU64::new(0);
    queue
        .scope(|s| {
            for _ in 0..4 {
                let _ = s.fetch_add(&word, 1)?;
            }
            assert_eq!(fake.state().doorbells, 4);
            fake.set(|state| state.budget = None);
            for _ in 0..100 {
                let _ = s.fetch_add(&word, 1)?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(word.load(Ordering::Relaxed), 104);
    assert_eq!(fake.state().deepest, 4);
}

#[test]
fn a_ring_that_stays_full_is_an_error() {
    let fake = Fake::new();
    fake.set(|state| (state.stuck, state.wait_answer) = (true, Some(Errno::EIO)));
    let mut queue = fake.queue(2);
    let result = queue.scope(|s| {
        for _ in 0..3 {
            let _ = s.nop()?;
        }
        Ok(())
    });
    assert!(matches!(result, Err(Error::Halted { queue: 0 })));
}

#[test]
fn submitting_makes_no_system_call() {
    let fake = Fake::new();
    fake.set(|state| state.budget = Some(0));
    let mut queue = fake.queue(64);
    queue
        .scope(|s| {
            for _ in 0..64 {
                let _ = s.nop()?;
            }
            let state = fake.state();
            assert_eq!((state.waits, state.doorbells), (0, 64));
            drop(state);
            fake.set(|state| state.budget = None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_interrupted_wait_goes_on() {
    let fake = Fake::new();
    fake.set(|state| (state.budget, state.interrupts) = (Some(0), 3));
    let mut queue = fake.queue(4);
    std::thread::scope(|threads| {
        threads.spawn(|| fake.release_at(4));
        queue.nop().unwrap();
    });
    assert_eq!(fake.state().waits, 4);
}

#[test]
fn a_refused_access_is_told_and_the_queue_lives_on() {
    let fake = Fake::new();
    let mut queue = fake.queue(4);
    fake.set(|state| state.refused_from = Some(1));
    let text = vec![b'a'; 100];
    let address = text.as_ptr().expose_provenance() as u64;
    let error = queue.word_count(&text).unwrap_err();
    let Error::Command(failure) = error else { panic!("{error}") };
    assert_eq!(failure, Failure::Refused { command: "word_count", address, done: 0 });
    assert_eq!(failure.address(), Some(address));
    let expected = format!("word_count: device access to {address:#x} refused after 0 bytes");
    assert_eq!(failure.to_string(), expected);

    fake.set(|state| state.refused_from = None);
    assert_eq!(queue.word_count(&text).unwrap(), 1);
    assert_eq!(fake.state().destroyed, 0);
}

#[test]
fn a_halted_queue_says_so_and_a_new_one_works() {
    let fake = Fake::new();
    fake.set(|state| state.halt_on = Some(farfault_abi::descriptor::OP_NOP));
    let device = Device::with(fake.kernel()).unwrap();
    let mut halted = device.queue(4).unwrap();
    assert!(matches!(halted.nop(), Err(Error::Halted { queue: 0 })));
    assert_eq!(fake.state().destroyed, 1);
    assert!(matches!(halted.nop(), Err(Error::Halted { queue: 0 })));
    drop(halted);
    assert_eq!(fake.state().destroyed, 1);
    let word = AtomicU64::new(0);
    device.queue(4).unwrap().fetch_add(&word, 2).unwrap();
    assert_eq!(word.load(Ordering::Relaxed), 2);
}

#[test]
fn a_wait_the_kernel_refuses_costs_the_queue() {
    let fake = Fake::new();
    fake.set(|state| (state.budget, state.wait_answer) = (Some(0), Some(Errno::ENODEV)));
    let mut queue = fake.queue(4);
    let error = queue.nop().unwrap_err();
    assert!(matches!(error, Error::System { call: "ioctl WAIT", source: Errno::ENODEV }));
    assert_eq!(fake.state().destroyed, 1);
}

#[test]
fn a_dropped_queue_is_taken_from_the_device() {
    let fake = Fake::new();
    let queue = fake.queue(4);
    assert_eq!(fake.state().destroyed, 0);
    drop(queue);
    assert_eq!(fake.state().destroyed, 1);
}

#[test]
fn impossible_operands_are_refused_before_the_device_sees_them() {
    let fake = Fake::new();
    let device = Device::with(fake.kernel()).unwrap();
    for entries in [0, 1, 3, 65537, 131_072, u32::MAX] {
        assert!(matches!(device.queue(entries), Err(Error::Entries(n)) if n == entries));
    }
    let mut queue = device.queue(2).unwrap();
    let error = queue.copy(&[1_u8, 2], &mut [0]).unwrap_err();
    assert_eq!(error.to_string(), "operands differ in length: 2 and 1 elements");
    assert!(queue.saxpy(1.0, &[], &mut [1.0]).is_err());
    assert!(queue.compare(&[1_u8], &[]).is_err());
    assert_eq!(fake.state().doorbells, 0);
}

#[test]
fn snapshots_and_advice_take_whole_pages() {
    let fake = Fake::new();
    let device = Device::with(fake.kernel()).unwrap();
    let buffer = vec![0_u8; 3 * 4096];
    let at = 4096 - buffer.as_ptr().addr() % 4096;
    let part = &buffer[at..at + 4097];
    assert_eq!(device.snapshot(part).unwrap().len(), 2);
    assert_eq!(device.snapshot(&part[..0]).unwrap().len(), 0);
    device.advise(&part[1..2], Advice::DontNeed).unwrap();
    assert_eq!(device.migrate(part, Memory::System).unwrap(), 2);
    let state = fake.state();
    let start = part.as_ptr().expose_provenance() as u64;
    assert_eq!(state.snapshots, [(start, 2), (start, 0)]);
    assert_eq!((state.advice[0].address, state.advice[0].length), (start, 4096));
    let moved = &state.migrations[0];
    assert_eq!((moved.address, moved.length, moved.target), (start, 8192, MIGRATE_SYSTEM));
}

#[test]
fn prefetch_names_the_range() {
    let fake = Fake::new();
    let device = Device::with(fake.kernel()).unwrap();
    let mut buffer = vec![0_u64; 10];
    device.prefetch(&buffer).unwrap();
    device.prefetch_mut(&mut buffer).unwrap();
    let state = fake.state();
    let seen: Vec<_> = state.prefetches.iter().map(|p| (p.length, p.flags)).collect();
    assert_eq!(seen, [(80, 0), (80, farfault_abi::uapi::PREFETCH_WRITE)]);
    assert_eq!(state.prefetches[0].address, buffer.as_ptr().expose_provenance() as u64);
}
