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

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use farfault_abi::fault::{FAULT_LAST, Fault};
use farfault_abi::regs::{ERR_FAULT_OVERFLOW, ERR_FAULT_RING};
use vm_memory::Bytes;

use crate::counters::{Live, count};
use crate::platform::Permits;
use crate::ram::{Dma, Slice};
use crate::ring::{Ring, Wild};
use crate::sync::fence;

/// Records that belong together.
pub struct Group {
    /// The queue they are about.
    pub queue: u16,
    /// The demanded record first.
    pub records: Vec<Fault>,
    counted: bool,
}

impl Group {
    /// A group that is yet to be posted.
    pub fn new(queue: u16, records: Vec<Fault>) -> Self {
        Self { queue, records, counted: false }
    }
}

/// What became of posting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// The driver has to be interrupted.
    pub interrupt: bool,
    /// ERR bits.
    pub errors: u32,
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

    /// Puts a group behind those that wait. What still waits of its queue is
    /// out of date (a response came that guessed its number) and goes: there
    /// is never more than one group a queue, whatever a guest does.
    pub fn push(&mut self, group: Group) {
        self.forget(group.queue);
        self.waiting.push_back(group);
    }

    /// Drops what waits of `queue`.
    pub fn forget(&mut self, queue: u16) {
        self.waiting.retain(|group| group.queue != queue);
    }

    /// Writes as many waiting groups as there is room for.
    pub fn drain(&mut self, memory: &Dma, ring: Ring, counters: &Live) -> Posted {
        let mut posted = Posted::default();
        loop {
            match self.post_front(memory, ring, counters, &mut posted) {
                Ok(true) => {}
                Ok(false) => return posted,
                Err(Wild) => {
                    posted.errors |= ERR_FAULT_RING;
                    return posted;
                }
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
    ) -> Result<bool, Wild> {
        if self.tail.is_some() && self.waiting.is_empty() {
            return Ok(false);
        }
        let word = |address| memory.touch(address, 4, Permits::ALL).map(DmaWord).ok_or(Wild);
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
        let mut room = ring.room(head_word.acquire(), tail)?;
        if room < group.records.len() as u32 && !group.counted {
            group.counted = true;
            posted.errors |= ERR_FAULT_OVERFLOW;
            count(&counters.fault_overflows);
            self.overflows = self.overflows.wrapping_add(1);
            room = ring.room(overflow(&overflows_word, &head_word, self.overflows), tail)?;
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
            let entry = memory.touch(ring.entry(next), bytes.len() as u64, Permits::WRITE);
            entry.ok_or(Wild)?.copy_from(&bytes);
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
