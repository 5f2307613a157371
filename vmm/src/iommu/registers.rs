// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The unit as the guest's kernel sees it: a page of registers (VT-d 11.4).
//!
//! Any offset and size may come from the guest. Registers are accessed in
//! aligned words of 32 bits or two of them; every other access reads as ones
//! and writes nothing. What is not there reads as 0.

use super::faults::SavedFaults;
use super::tables::WIDTH;
use super::unit::Unit;
use crate::pci::is_register_access;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the registers' page.
pub const SIZE: u64 = 4096;

/// The registers by their offsets, a 64-bit one by those of its two words. Those of
/// IOTLB and of the fault record are for the unit to choose, in its capabilities.
mod offset {
    /// VER, 11.4.1.
    pub const VERSION: u64 = 0x00;
    /// CAP, 11.4.2.
    pub const CAPABILITIES: u64 = 0x08;
    pub const CAPABILITIES_UPPER: u64 = 0x0c;
    /// ECAP, 11.4.3.
    pub const EXTENDED: u64 = 0x10;
    pub const EXTENDED_UPPER: u64 = 0x14;
    /// GCMD, 11.4.4.1.
    pub const COMMAND: u64 = 0x18;
    /// GSTS, 11.4.4.2.
    pub const STATUS: u64 = 0x1c;
    /// RTADDR, 11.4.5.
    pub const ROOT: u64 = 0x20;
    pub const ROOT_UPPER: u64 = 0x24;
    /// CCMD, 11.4.6.1; the upper word asks.
    pub const CONTEXT: u64 = 0x28;
    pub const CONTEXT_UPPER: u64 = 0x2c;
    /// FSTS, 11.4.7.1.
    pub const FAULT_STATUS: u64 = 0x34;
    /// FECTL, FEDATA, FEADDR and FEUADDR, 11.4.7.2 to 11.4.7.5.
    pub const EVENT_CONTROL: u64 = 0x38;
    pub const EVENT_DATA: u64 = 0x3c;
    pub const EVENT_ADDRESS: u64 = 0x40;
    pub const EVENT_UPPER_ADDRESS: u64 = 0x44;
    /// IVA and behind it IOTLB, 11.4.6.2 and 11.4.6.3; the upper word asks.
    pub const INVALIDATE_ADDRESS: u64 = 0x100;
    pub const IOTLB: u64 = 0x108;
    pub const IOTLB_UPPER: u64 = 0x10c;
    /// FRCD, 11.4.7.6: four words.
    pub const RECORD: u64 = 0x200;
    pub const RECORD_END: u64 = 0x20c;
}

const VERSION_1_0: u32 = 0x10;
/// CAP (11.4.2).
const CAPABILITIES: u64 = {
    let domains_256 = 2;
    let levels_4 = 1 << 10;
    let width = (WIDTH as u64 - 1) << 16;
    let record = (offset::RECORD / 16) << 24;
    let large_pages = 0b11 << 34;
    let page_selective = 1 << 39;
    let most_pages_2_18 = 18 << 48;
    let waits_for_reads_and_writes = 0b11 << 54;
    domains_256
        | levels_4
        | width
        | record
        | large_pages
        | page_selective
        | most_pages_2_18
        | waits_for_reads_and_writes
};
/// ECAP (11.4.3).
const EXTENDED: u64 = {
    let coherent = 1;
    let pass_through = 1 << 6;
    let iotlb = (offset::INVALIDATE_ADDRESS / 16) << 8;
    coherent | pass_through | iotlb
};

/// TE and TES, SRTP and RTPS: translation is on, the root table is set.
const TRANSLATION: u32 = 1 << 31;
const ROOT_SET: u32 = 1 << 30;

/// The upper word of a register that asks for an invalidation.
struct Request {
    /// Which granularity is asked for; 0 is reserved.
    asked: u32,
    /// Which was carried out,
    done: u32,
    /// and what says in there that it was the global one.
    global: u32,
}

/// Carry it out (ICC, IVT).
const DO: u32 = 1 << 31;
/// CIRG and CAIG (11.4.6.1).
const CONTEXT_REQUEST: Request = Request { asked: 3 << 29, done: 3 << 27, global: 1 << 27 };
/// IIRG and IAIG (11.4.6.3).
const IOTLB_REQUEST: Request = Request { asked: 3 << 28, done: 3 << 25, global: 1 << 25 };

/// What is behind the unit and may remember what the unit said.
pub trait Behind: Send + Sync {
    /// Returns when no access through earlier translations is left, and none of
    /// them is remembered.
    fn dma_changed(&self);
}

/// The unit with its registers.
pub struct IommuRegisters {
    unit: Arc<Unit>,
    behind: Arc<dyn Behind>,
    written: Mutex<Written>,
    invalidations: AtomicU64,
}

/// What the guest wrote; 64-bit registers as two words.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Written {
    status: u32,
    root: [u32; 2],
    context: [u32; 2],
    iotlb: [u32; 2],
    /// The root table as of the last command that set it.
    set_root: u64,
}

/// The unit as a value.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedIommu {
    written: Written,
    faults: SavedFaults,
    invalidations: u64,
}

impl IommuRegisters {
    /// Registers for `unit`, which `behind` is behind of.
    pub fn new(unit: Arc<Unit>, behind: Arc<dyn Behind>) -> Arc<IommuRegisters> {
        let (written, invalidations) = Default::default();
        Arc::new(IommuRegisters { unit, behind, written, invalidations })
    }

    /// Requests that were refused.
    pub fn faults(&self) -> u64 {
        self.unit.faults.count()
    }

    /// Invalidations that were carried out.
    pub fn invalidations(&self) -> u64 {
        self.invalidations.load(Ordering::Relaxed)
    }

    pub fn save(&self) -> SavedIommu {
        let written = self.written.lock().clone();
        let faults = self.unit.faults.save();
        SavedIommu { written, faults, invalidations: self.invalidations() }
    }

    /// Makes a new unit, by which nobody has accessed memory yet, what `saved` was.
    pub fn restore(&self, saved: &SavedIommu) {
        let mut written = self.written.lock();
        *written = saved.written.clone();
        self.unit.set(written.set_root, written.status & TRANSLATION != 0);
        self.unit.faults.restore(&saved.faults);
        self.invalidations.store(saved.invalidations, Ordering::Relaxed);
    }

    /// Reads the page.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if !is_register_access(offset, data.len()) {
            return data.fill(0xff);
        }
        let written = self.written.lock();
        for (word, at) in data.chunks_exact_mut(4).zip((offset..).step_by(4)) {
            word.copy_from_slice(&self.word(&written, at).to_le_bytes());
        }
    }

    /// Writes the page; what a write asks for is done when it returns.
    pub fn write(&self, offset: u64, data: &[u8]) {
        if !is_register_access(offset, data.len()) {
            return;
        }
        // Held while an invalidation waits for the device, which never asks for it.
        let mut written = self.written.lock();
        for (word, at) in data.chunks_exact(4).zip((offset..).step_by(4)) {
            let value = word.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            self.set_word(&mut written, at, value);
        }
    }

    fn word(&self, written: &Written, at: u64) -> u32 {
        let faults = &self.unit.faults;
        match at {
            offset::VERSION => VERSION_1_0,
            offset::CAPABILITIES => CAPABILITIES as u32,
            offset::CAPABILITIES_UPPER => (CAPABILITIES >> 32) as u32,
            offset::EXTENDED => EXTENDED as u32,
            offset::EXTENDED_UPPER => (EXTENDED >> 32) as u32,
            offset::STATUS => written.status,
            offset::ROOT => written.root[0],
            offset::ROOT_UPPER => written.root[1],
            offset::CONTEXT => written.context[0],
            offset::CONTEXT_UPPER => written.context[1],
            offset::FAULT_STATUS => faults.status(),
            offset::IOTLB => written.iotlb[0],
            offset::IOTLB_UPPER => written.iotlb[1],
            offset::RECORD..=offset::RECORD_END => faults.read_record(record_word(at)),
            offset::EVENT_CONTROL => faults.control(),
            offset::EVENT_DATA => faults.message().data,
            offset::EVENT_ADDRESS => faults.message().address as u32,
            offset::EVENT_UPPER_ADDRESS => (faults.message().address >> 32) as u32,
            _ => 0,
        }
    }

    fn set_word(&self, written: &mut Written, at: u64, value: u32) {
        let faults = &self.unit.faults;
        match at {
            offset::COMMAND => self.command(written, value),
            offset::ROOT => written.root[0] = value,
            offset::ROOT_UPPER => written.root[1] = value,
            offset::CONTEXT => written.context[0] = value,
            offset::CONTEXT_UPPER => written.context[1] = self.invalidate(value, &CONTEXT_REQUEST),
            offset::FAULT_STATUS => faults.acknowledge(value),
            offset::IOTLB => written.iotlb[0] = value,
            offset::IOTLB_UPPER => written.iotlb[1] = self.invalidate(value, &IOTLB_REQUEST),
            offset::RECORD..=offset::RECORD_END => faults.write_record(record_word(at), value),
            offset::EVENT_CONTROL => faults.set_control(value),
            offset::EVENT_DATA => faults.set_message(|message| message.data = value),
            offset::EVENT_ADDRESS => faults.set_message(|message| message.set_lower(value)),
            offset::EVENT_UPPER_ADDRESS => faults.set_message(|message| message.set_upper(value)),
            _ => {}
        }
    }

    /// GCMD (11.4.4.1). The status follows when the device has.
    fn command(&self, written: &mut Written, value: u32) {
        let mut status = written.status & ROOT_SET | value & TRANSLATION;
        if value & ROOT_SET != 0 {
            let [low, high] = written.root.map(u64::from);
            written.set_root = high << 32 | low;
            status |= ROOT_SET;
        }
        if value & ROOT_SET != 0 || status != written.status {
            self.unit.set(written.set_root, value & TRANSLATION != 0);
            self.behind.dma_changed();
            written.status = status;
        }
    }

    /// Carries out what an upper word asks for, and gives the word as it reads then:
    /// whatever is asked for, all is done.
    fn invalidate(&self, word: u32, request: &Request) -> u32 {
        if word & DO == 0 {
            return word;
        }
        let word = word & !(DO | request.done);
        if word & request.asked == 0 {
            return word;
        }
        self.behind.dma_changed();
        self.invalidations.fetch_add(1, Ordering::Relaxed);
        word | request.global
    }
}

fn record_word(at: u64) -> usize {
    ((at - offset::RECORD) / 4) as usize
}
