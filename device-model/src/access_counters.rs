// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Access counters: where in system memory the commands of an address space are often.
//!
//! They are an engine's own, so counting takes no lock, and few, so a counter may have to make
//! place for another before it has told of anything. That costs a record; none is ever wrong.

use crate::access::Access;
use farfault_abi::fault::{ACCESS_BYTES, ACCESS_COUNTER_BYTES, FAULT_ACCESSES, Fault};

/// Counters of an engine.
const COUNTERS: usize = 256;

/// What was said of a PASID: accesses after which to tell, and when it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    pub pasid: u32,
    pub threshold: u64,
    /// Differs from that of all that was said before, so that nothing is left of their counts.
    pub serial: u64,
}

/// Memory that has had the accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Often {
    pub pasid: u32,
    /// Where the last of them was, and which.
    pub address: u64,
    pub access: Access,
}

impl Often {
    /// As the driver is told of it, through a queue.
    pub fn record(self, queue: u16) -> Fault {
        Fault {
            address: self.address,
            pasid: self.pasid,
            queue,
            kind: FAULT_ACCESSES as u8,
            access: self.access.bits() as u8,
            ..Fault::default()
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Counter {
    address: u64,
    pasid: u32,
    serial: u64,
    accesses: u64,
}

/// The access counters of an engine.
pub struct AccessCounters {
    counters: [Counter; COUNTERS],
    /// What is to be told of behind the section: few, as a section is bounded.
    pub often: Vec<Often>,
}

impl AccessCounters {
    /// All at 0.
    pub fn new() -> Self {
        Self { counters: [Counter::default(); COUNTERS], often: Vec::new() }
    }

    /// Counts an access to `bytes` at `address`.
    pub fn note(&mut self, counting: Counting, access: Access, address: u64, bytes: u64) {
        let end = address.saturating_add(bytes);
        let mut start = address;
        while start < end {
            let block = start & !(ACCESS_COUNTER_BYTES - 1);
            let next = end.min(block.saturating_add(ACCESS_COUNTER_BYTES));
            if self.add(counting, block, (next - start).div_ceil(ACCESS_BYTES)) {
                self.often.push(Often { pasid: counting.pasid, address: start, access });
            }
            start = next;
        }
    }

    /// Whether the threshold is reached.
    fn add(&mut self, counting: Counting, address: u64, accesses: u64) -> bool {
        let Counting { pasid, threshold, serial } = counting;
        let number = (address / ACCESS_COUNTER_BYTES) as usize % COUNTERS;
        let Some(counter) = self.counters.get_mut(number) else { return false };
        if (counter.address, counter.pasid, counter.serial) != (address, pasid, serial) {
            *counter = Counter { address, pasid, serial, accesses: 0 };
        }
        counter.accesses += accesses;
        let reached = counter.accesses >= threshold;
        if reached {
            counter.accesses = 0;
        }
        reached
    }
}
