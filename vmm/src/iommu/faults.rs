// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Refused requests as the guest's kernel hears of them: the fault record, its
//! status, and the fault event's message (VT-d 7.2.1, 7.3, 11.4.7).
//!
//! There is one record. While the guest has not cleared it, and the overflow that
//! there was meanwhile, further faults are only counted. A message is sent for
//! every record.

use super::tables::Reason;
use crate::pci::{Message, MessageSink};
use farfault_device_model::DmaFault;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// Record, last word: it is valid; the request wanted to read.
const RECORD_FULL: u32 = 1 << 31;
const RECORD_READ: u32 = 1 << 30;

const STATUS_OVERFLOW: u32 = 1;
const STATUS_PENDING: u32 = 1 << 1;

const CONTROL_MASKED: u32 = 1 << 31;
const CONTROL_PENDING: u32 = 1 << 30;

pub struct Faults {
    sink: Box<dyn MessageSink>,
    state: Mutex<FaultState>,
    count: AtomicU64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct FaultState {
    record: [u32; 4],
    overflow: bool,
    masked: bool,
    pending: bool,
    message: Message,
}

/// [`Faults`] as a value.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedFaults {
    state: FaultState,
    count: u64,
}

impl Faults {
    /// None yet, the event masked; its messages go to `sink`.
    pub fn new(sink: Box<dyn MessageSink>) -> Self {
        let state = FaultState { masked: true, ..FaultState::default() };
        Self { sink, state: Mutex::new(state), count: AtomicU64::new(0) }
    }

    /// Requests refused so far, whether there was room for their record or not.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub fn save(&self) -> SavedFaults {
        SavedFaults { state: self.state.lock().clone(), count: self.count() }
    }

    /// Goes on from what was saved.
    pub fn restore(&self, saved: &SavedFaults) {
        let mut state = self.state.lock();
        *state = saved.state.clone();
        self.sink.program(state.message);
        self.count.store(saved.count, Ordering::Relaxed);
    }

    /// A request of `source` was refused.
    pub fn record(&self, source: u16, fault: &DmaFault) {
        let DmaFault { address, wanted, reason, .. } = *fault;
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        if state.overflow || state.record[3] & RECORD_FULL != 0 {
            state.overflow = true;
            return;
        }
        let page = address & !0xfff;
        // An access may need both; what it lacks is what it is called by.
        let kind = if wanted.write && reason != Reason::Read as u8 { 0 } else { RECORD_READ };
        let last = RECORD_FULL | kind | u32::from(reason);
        state.record = [page as u32, (page >> 32) as u32, source.into(), last];
        self.notify(&mut state);
    }

    /// FSTS. The index of the first record, the only one, is 0.
    pub fn status(&self) -> u32 {
        let state = self.state.lock();
        let pending = state.record[3] & RECORD_FULL != 0;
        (u32::from(state.overflow) * STATUS_OVERFLOW) | (u32::from(pending) * STATUS_PENDING)
    }

    /// Writes FSTS: an overflow is cleared by a 1.
    pub fn acknowledge(&self, value: u32) {
        let mut state = self.state.lock();
        state.overflow &= value & STATUS_OVERFLOW == 0;
        state.settle();
    }

    /// Word `index` of the record.
    pub fn read_record(&self, index: usize) -> u32 {
        self.state.lock().record.get(index).copied().unwrap_or(0)
    }

    /// Writes word `index` of the record: a 1 clears the bit that says that it is valid.
    pub fn write_record(&self, index: usize, value: u32) {
        if index == 3 && value & RECORD_FULL != 0 {
            let mut state = self.state.lock();
            state.record[3] &= !RECORD_FULL;
            state.settle();
        }
    }

    /// FECTL.
    pub fn control(&self) -> u32 {
        let state = self.state.lock();
        (u32::from(state.masked) * CONTROL_MASKED) | (u32::from(state.pending) * CONTROL_PENDING)
    }

    /// Writes FECTL.
    pub fn set_control(&self, value: u32) {
        let mut state = self.state.lock();
        state.masked = value & CONTROL_MASKED != 0;
        if state.pending {
            self.notify(&mut state);
        }
    }

    /// FEDATA, FEADDR and FEUADDR.
    pub fn message(&self) -> Message {
        self.state.lock().message
    }

    /// Writes one of them.
    pub fn set_message(&self, change: impl FnOnce(&mut Message)) {
        let mut state = self.state.lock();
        change(&mut state.message);
        self.sink.program(state.message);
    }

    /// Sends the message, or keeps it pending while it is masked.
    fn notify(&self, state: &mut FaultState) {
        state.pending = state.masked;
        if !state.masked {
            self.sink.send();
        }
    }
}

impl FaultState {
    /// A message that is held back is void when the guest has seen to its cause.
    fn settle(&mut self) {
        self.pending &= self.overflow || self.record[3] & RECORD_FULL != 0;
    }
}
