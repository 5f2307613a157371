// SPDX-License-Identifier: Apache-2.0 OR MIT
//! CPUs and device add to the same words, and nothing is lost.

use crate::pace::Pace;
use crate::words::{page, word};
use farfault_client::Device;
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::{Failure, device_and_queue};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How often each side adds.
fn increments() -> u64 {
    let told = std::env::var("FARFAULT_INCREMENTS").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(20_000)
}

/// Commands that are under way at a time.
const AT_ONCE: u64 = 256;

/// The two who keep step.
const CPU: usize = 0;
const DEVICE: usize = 1;

/// Times that the device has to take the page, of so many increments.
const CHANGES_PER: u64 = 1000;

fn count_by_cpu(word: &AtomicU64, times: u64) {
    for _ in 0..times {
        word.fetch_add(1, Ordering::SeqCst);
    }
}

/// Adds 1 to a word by a queue, `AT_ONCE` commands at a step.
fn count_in_step(device: &Device, word: &AtomicU64, times: u64, pace: &Pace) -> Outcome {
    let mut queue = device.queue(2 * AT_ONCE as u32)?;
    let count = (0..times / AT_ONCE).try_for_each(|_| {
        let counted = queue.scope(|scope| {
            for _ in 1..AT_ONCE {
                let _ = scope.fetch_add(word, 1)?;
            }
            scope.fetch_add(word, 1)?.wait().map(drop)
        });
        pace.step(DEVICE, 1);
        counted.map_err(Into::into)
    });
    pace.leave();
    count
}

/// Has a CPU and the device count, the CPU at most so many steps before the device; how often
/// each has and how often the page was taken.
fn count_together(times: u64, ahead: u64) -> Result<[u64; 3], Failure> {
    let (device, region, pace) = (Device::open()?, page()?, Pace::default());
    let shared = word(&region, 0);
    let counted = AtomicU64::new(0);
    let taken = growth("exclusive", || {
        thread::scope(|scope| {
            scope.spawn(|| {
                while !pace.is_over() {
                    count_by_cpu(shared, AT_ONCE);
                    counted.fetch_add(AT_ONCE, Ordering::Relaxed);
                    pace.step(CPU, ahead);
                }
            });
            // So that neither has the page for itself all the time.
            while counted.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            count_in_step(&device, shared, times, &pace)
        })
    })?;
    let (counted, times) = (counted.into_inner(), times / AT_ONCE * AT_ONCE);
    println!("# {times} by the device, {counted} by the CPU, the page taken {taken} times");
    expect_equal("the sum", &shared.load(Ordering::SeqCst), &(times + counted))?;
    Ok([times, counted, taken])
}

/// Each counts as often as the other, in turns.
pub fn cpu_and_device_count_together() -> Outcome {
    let [times, counted, taken] = count_together(increments(), 1)?;
    expect("as often as the other", counted.abs_diff(times) <= 2 * AT_ONCE)?;
    expect("the page changes hands", taken >= times / CHANGES_PER)
}

/// The CPU does not let go of the page of its own accord, and the device comes on all the same.
pub fn both_count_as_fast_as_they_can() -> Outcome {
    let [times, counted, taken] = count_together(increments() / 50, u64::MAX / 2)?;
    expect("the CPU has counted", counted > 0)?;
    expect("the page changes hands", taken >= times / CHANGES_PER)
}

/// Two queues and two threads, each as it comes.
pub fn many_count_together() -> Outcome {
    let (device, times, region) = (Device::open()?, increments() / 20, page()?);
    let (shared, pace) = (word(&region, 0), Pace::default());
    // Whoever has left is waited for no more.
    pace.leave();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| count_by_cpu(shared, times));
        }
        let count = || count_in_step(&device, shared, times, &pace).is_ok();
        let queues = [(); 2].map(|()| scope.spawn(count));
        let all = queues.into_iter().all(|thread| thread.join().unwrap_or(false));
        expect("all have counted", all)
    })?;
    let total = 2 * times + 2 * (times / AT_ONCE * AT_ONCE);
    expect_equal("the sum", &shared.load(Ordering::SeqCst), &total)
}

/// A CPU that only reads the page takes it, too; what it reads never goes back.
pub fn words_of_one_page() -> Outcome {
    let (_device, mut queue) = device_and_queue()?;
    let region = page()?;
    let mut last = 0;
    for round in 1..=200 {
        expect_equal("old value", &queue.fetch_add(word(&region, 1), 1)?, &(round - 1))?;
        let seen = word(&region, 1).load(Ordering::Acquire);
        expect("it only grows", seen == last + 1)?;
        last = seen;
        word(&region, 2).fetch_add(1, Ordering::SeqCst);
    }
    expect_equal("the CPU's word", &word(&region, 2).load(Ordering::SeqCst), &200)
}
