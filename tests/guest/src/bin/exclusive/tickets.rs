// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A queue without locks between threads of CPUs and threads that do all by the device.
//!
//! Who puts an item in draws a ticket from the tail, and stores the item in the place of that
//! number; who takes one draws from the head, and waits until something is there. Each place
//! is used once, so a fetch-and-add and a store are all that it takes.

use crate::pace::Pace;
use crate::words::words;
use farfault_client::{Device, Queue};
use farfault_guest_programs::Failure;
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{PAGE, Region};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Items that each of two producers puts in, and each of two consumers takes out.
const ITEMS: u64 = 200;
/// Items that the one may be ahead of the other.
const AHEAD: u64 = 4;

struct Tickets<'a> {
    head: &'a AtomicU64,
    tail: &'a AtomicU64,
    places: &'a [AtomicU64],
}

/// Who does what is to be done to a word.
enum Hand {
    Cpu,
    Device(Box<Queue>),
}

impl Hand {
    fn add(&mut self, word: &AtomicU64, value: u64) -> Result<u64, Failure> {
        Ok(match self {
            Self::Cpu => word.fetch_add(value, Ordering::SeqCst),
            Self::Device(queue) => queue.fetch_add(word, value)?,
        })
    }

    fn store(&mut self, word: &AtomicU64, value: u64) -> Result<(), Failure> {
        match self {
            Self::Cpu => word.store(value, Ordering::Release),
            Self::Device(queue) => queue.fence(word, value)?,
        }
        Ok(())
    }
}

impl<'a> Tickets<'a> {
    /// In fresh memory: head and tail have a page each.
    fn new(memory: &'a Region) -> Self {
        let (ends, places) = words(memory).split_at(2 * PAGE / 8);
        Self { head: &ends[0], tail: &ends[PAGE / 8], places }
    }

    fn put(&self, hand: &mut Hand, item: u64) -> Result<(), Failure> {
        let ticket = hand.add(self.tail, 1)?;
        hand.store(&self.places[ticket as usize], item)
    }

    fn take(&self, hand: &mut Hand) -> Result<u64, Failure> {
        let ticket = hand.add(self.head, 1)?;
        loop {
            // Reading is adding nothing.
            match hand.add(&self.places[ticket as usize], 0)? {
                0 => thread::yield_now(),
                item => return Ok(item),
            }
        }
    }
}

/// The items of a producer; none is 0.
fn items(producer: u64) -> impl Iterator<Item = u64> {
    (0..ITEMS).map(move |item| 1 + 2 * item + producer)
}

pub fn each_item_arrives_once() -> Outcome {
    let bytes = 2 * PAGE + (2 * ITEMS as usize * 8).next_multiple_of(PAGE);
    let (device, memory) = (Device::open()?, Region::small_pages(bytes)?);
    let tickets = Tickets::new(&memory);
    let hands = || Ok::<_, Failure>([Hand::Cpu, Hand::Device(Box::new(device.queue(16)?))]);
    let (producers, consumers) = (hands()?, hands()?);
    let (mut arrived, paces) = (Vec::new(), [Pace::default(), Pace::default()]);
    let taken = growth("exclusive", || {
        thread::scope(|scope| {
            let (tickets, [putting, taking]) = (&tickets, &paces);
            let put: Vec<_> = (0..)
                .zip(producers)
                .map(|(who, mut hand)| {
                    scope.spawn(move || {
                        items(who)
                            .try_for_each(|item| {
                                putting.step(who as usize, AHEAD);
                                tickets.put(&mut hand, item)
                            })
                            .inspect_err(|_| putting.leave())
                            .is_ok()
                    })
                })
                .collect();
            let take: Vec<_> = (0..)
                .zip(consumers)
                .map(|(who, mut hand)| {
                    scope.spawn(move || {
                        let take = |_| {
                            taking.step(who, AHEAD);
                            tickets.take(&mut hand).inspect_err(|_| taking.leave()).ok()
                        };
                        (0..ITEMS).map(take).collect::<Option<Vec<_>>>()
                    })
                })
                .collect();
            for thread in put {
                expect("all is put in", thread.join().unwrap_or(false))?;
            }
            for thread in take {
                let items = thread.join().ok().flatten().ok_or("a consumer has failed")?;
                let of = |producer| items.iter().filter(move |item| (*item - 1) % 2 == producer);
                expect("in order", [0, 1].into_iter().all(|producer| of(producer).is_sorted()))?;
                arrived.extend(items);
            }
            Ok(())
        })
    })?;
    println!("# {} items, pages taken {taken} times", arrived.len());
    arrived.sort_unstable();
    expect_equal("items", &arrived, &(1..=2 * ITEMS).collect())?;
    expect("pages go to and fro", taken > ITEMS / AHEAD)
}
