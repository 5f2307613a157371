// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The fault queue: records from the device to the driver.
//!
//! Nothing is lost: a group that finds no room waits here, in order, and is
//! written when there is some. An interrupt is sent when a record is written to
//! an empty queue. That the driver cannot miss one rests on two full fences:
//! the device writes tail, *fence*, reads head; the driver writes head, *fence*,
//! reads tail. One of the two sees the other's write, so either the device
//! finds the queue empty and interrupts, or the driver finds the record.
//! The same holds for `overflows`: a driver that, after moving head, sees that
//! it has changed rings the command doorbell, and the device looks for room.

use crate::counters::{Live, count};
use crate::dma::Permits;
use crate::ram::{Dma, Slice};
use crate::refusal::{Refusal, RefusalCause};
use crate::ring::{Ring, Wild};
use crate::sync::fence;
use farfault_abi::fault::{FAULT_LAST, Fault};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use vm_memory::Bytes;

/// Records that belong together.
pub struct Group {
    /// The queue they are about.
    queue: u16,
    /// Counts the groups of the queue, and wraps.
    number: u32,
    /// The demanded record first.
    records: Vec<Fault>,
    counted: bool,
}

impl Group {
    /// A group that is yet to be posted.
    pub fn new(queue: u16, number: u32, records: Vec<Fault>) -> Self {
        Self { queue, number, records, counted: false }
    }
}

/// What became of posting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// The driver has to be interrupted.
    pub interrupt: bool,
    /// A group had to wait for room.
    pub overflow: bool,
    /// The queue cannot be used.
    pub refusal: Option<Refusal>,
}

/// A word that both sides see; loom's models put their own in.
pub trait Word {
    /// Reads it, before what is read later.
    fn acquire(&self) -> u32;
    /// Writes it, after what was written before.
    fn release(&self, value: u32);
}

/// Makes records up to `tail` visible; true if the queue was empty up to then.
pub fn publish(tail_word: &impl Word, head_word: &impl Word, old_tail: u32, tail: u32) -> bool {
    tail_word.release(tail);
    fence(Ordering::SeqCst);
    head_word.acquire() == old_tail
}

/// Says that a record has to wait for room, and gives the head as it is then:
/// either there is room after all, or the driver sees the new count.
pub fn overflow(overflows_word: &impl Word, head_word: &impl Word, count: u32) -> u32 {
    overflows_word.release(count);
    fence(Ordering::SeqCst);
    head_word.acquire()
}

/// The device's side of the fault queue.
#[derive(Default)]
pub struct FaultQueue {
    /// Where the next record goes, once it has been read from the ring.
    tail: Option<u32>,
    overflows: u32,
    waiting: VecDeque<Group>,
}

impl FaultQueue {
    /// Forgets everything, as after reset.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Puts a group behind those that wait. There is never more than one a queue: if
    /// another waits, a guest has answered a group that it has not seen, and the
    /// earlier of the two is out of date. That may be this one, as two engines that
    /// park the queue in turn come here in any order.
    pub fn push(&mut self, group: Group) {
        let of_queue = |other: &&Group| other.queue == group.queue;
        if let Some(other) = self.waiting.iter().find(of_queue) {
            if group.number.wrapping_sub(other.number) > u32::MAX / 2 {
                return;
            }
            self.forget(group.queue);
        }
        self.waiting.push_back(group);
    }

    /// Posts a record that nobody waits for. It is lost, which the result says, if others
    /// wait or there is no room.
    pub fn post_or_lose(
        &mut self,
        record: Fault,
        memory: &Dma,
        ring: Ring,
        counters: &Live,
    ) -> (Posted, bool) {
        if !self.waiting.is_empty() {
            return (Posted::default(), true);
        }
        let group = Group { counted: true, ..Group::new(record.queue, 0, vec![record]) };
        self.waiting.push_back(group);
        let posted = self.drain(memory, ring, counters);
        (posted, self.waiting.pop_front().is_some())
    }

    /// Drops what waits of `queue`.
    pub fn forget(&mut self, queue: u16) {
        self.waiting.retain(|group| group.queue != queue);
    }

    /// Whether no group waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The number of the group that waits of `queue`.
    #[cfg(test)]
    pub fn waiting_group(&self, queue: u16) -> Option<u32> {
        self.waiting.iter().find(|group| group.queue == queue).map(|group| group.number)
    }

    /// Writes as many waiting groups as there is room for.
    pub fn drain(&mut self, memory: &Dma, ring: Ring, counters: &Live) -> Posted {
        let mut posted = Posted::default();
        loop {
            match self.post_front(memory, ring, counters, &mut posted) {
                Ok(true) => {}
                end => return Posted { refusal: end.err(), ..posted },
            }
        }
    }

    /// Posts the first group, cut to the room there is; false if there is none of either.
    fn post_front(
        &mut self,
        memory: &Dma,
        ring: Ring,
        counters: &Live,
        posted: &mut Posted,
    ) -> Result<bool, Refusal> {
        const CAUSE: RefusalCause = RefusalCause::FaultRing;
        if self.tail.is_some() && self.waiting.is_empty() {
            return Ok(false);
        }
        let reach = |address, length, wanted| {
            let found = memory.reach(address, length, wanted);
            found.map_err(|unreachable| Refusal::unreachable(CAUSE, unreachable))
        };
        let wild = |Wild| Refusal::at(CAUSE, ring.head());
        let word = |address| reach(address, 4, Permits::ALL).map(DmaWord);
        let (tail_word, head_word) = (word(ring.tail())?, word(ring.head())?);
        let overflows_word = word(ring.overflows())?;
        let tail = match self.tail {
            Some(tail) => tail,
            None => {
                // The driver has seen this count, and looks for another.
                self.overflows = overflows_word.acquire();
                *self.tail.insert(tail_word.acquire())
            }
        };
        let Some(group) = self.waiting.front_mut() else { return Ok(false) };
        let mut room = ring.room(head_word.acquire(), tail).map_err(wild)?;
        if room < group.records.len() as u32 && !group.counted {
            group.counted = true;
            posted.overflow = true;
            count(&counters.fault_overflows);
            self.overflows = self.overflows.wrapping_add(1);
            let head = overflow(&overflows_word, &head_word, self.overflows);
            room = ring.room(head, tail).map_err(wild)?;
        }
        if room == 0 {
            return Ok(false);
        }
        group.records.truncate(room as usize);
        if let Some(last) = group.records.last_mut() {
            last.flags |= FAULT_LAST as u8;
        }
        let mut next = tail;
        for record in &group.records {
            let bytes = record.to_bytes();
            reach(ring.entry(next), bytes.len() as u64, Permits::WRITE)?.copy_from(&bytes);
            next = next.wrapping_add(1);
        }
        posted.interrupt |= publish(&tail_word, &head_word, tail, next);
        counters.count_group(&group.records);
        self.tail = Some(next);
        self.waiting.pop_front();
        Ok(true)
    }
}

/// A word of a ring header in guest memory.
struct DmaWord<'m>(Slice<'m>);

impl Word for DmaWord<'_> {
    fn acquire(&self) -> u32 {
        // It is there, and a ring is aligned.
        self.0.load(0, Ordering::Acquire).unwrap_or(0)
    }

    fn release(&self, value: u32) {
        let _ = self.0.store(value, 0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
#[path = "fault_queue_test.rs"]
mod tests;
