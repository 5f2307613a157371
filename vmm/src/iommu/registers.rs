// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The unit as the guest's kernel sees it: a page of registers (VT-d 11.4).
//!
//! Any offset and size may come from the guest. Registers are accessed in
//! aligned words of 32 bits or two of them; every other access reads as ones
//! and writes nothing. What is not there reads as 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::faults::Event;
use super::tables::WIDTH;
use super::unit::Unit;

/// Bytes of the registers' page.
pub const SIZE: u64 = 4096;

const VERSION: u64 = 0x00;
const CAPABILITIES: u64 = 0x08;
const EXTENDED: u64 = 0x10;
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
const ROOT: u64 = 0x20;
const CONTEXT: u64 = 0x28;
const FAULT_STATUS: u64 = 0x34;
const EVENT_CONTROL: u64 = 0x38;
const EVENT_DATA: u64 = 0x3c;
const EVENT_ADDRESS: u64 = 0x40;
const EVENT_UPPER_ADDRESS: u64 = 0x44;
/// Where the next two are is for the unit to say, in its capabilities.
const IOTLB: u64 = 0x100;
const RECORD: u64 = 0x200;
const RECORD_END: u64 = RECORD + 0xc;

const VERSION_1_0: u32 = 0x10;
/// CAP: 256 domains; 4 levels; the width of addresses; where the fault record is
/// (one); 2 MiB and 1 GiB pages; page-selective invalidations of up to 1 GiB; and
/// that an invalidation waits for reads and writes.
const CAPABILITIES_VALUE: u64 = 2
    | 1 << 10
    | (WIDTH as u64 - 1) << 16
    | (RECORD / 16) << 24
    | 0b11 << 34
    | 1 << 39
    | 18 << 48
    | 0b11 << 54;
/// ECAP: tables are read coherently; pass-through; where the IOTLB registers are.
const EXTENDED_VALUE: u64 = 1 | 1 << 6 | (IOTLB / 16) << 8;

/// Bits of command and status: translation is on, the root table is set.
const TRANSLATION: u32 = 1 << 31;
const ROOT_SET: u32 = 1 << 30;

/// Upper words of CCMD and IOTLB: do it; the granularity asked for, and the one
/// that was carried out, of which 1 is global.
const DO: u32 = 1 << 31;
const CONTEXT_ASKED: u32 = 3 << 29;
const CONTEXT_DONE: u32 = 3 << 27;
const CONTEXT_DONE_GLOBAL: u32 = 1 << 27;
const IOTLB_ASKED: u32 = 3 << 28;
const IOTLB_DONE: u32 = 3 << 25;
const IOTLB_DONE_GLOBAL: u32 = 1 << 25;

/// What is behind the unit and may remember what the unit said.
pub trait Behind: Send + Sync {
    /// Returns when no access through earlier translations is left, and none of
    /// them is remembered.
    fn dma_changed(&self);
}

/// The unit with its registers.
pub struct Iommu {
    unit: Arc<Unit>,
    behind: Arc<dyn Behind>,
    registers: Mutex<Registers>,
    invalidations: AtomicU64,
}

/// What the guest wrote; 64-bit registers as two words.
#[derive(Default)]
struct Registers {
    status: u32,
    root: [u32; 2],
    context: [u32; 2],
    iotlb: [u32; 2],
    /// The root table as of the last command that set it.
    set_root: u64,
}

impl Iommu {
    /// Registers for `unit`, which `behind` is behind of.
    pub fn new(unit: Arc<Unit>, behind: Arc<dyn Behind>) -> Arc<Iommu> {
        let (registers, invalidations) = Default::default();
        Arc::new(Iommu { unit, behind, registers, invalidations })
    }

    /// Requests that were refused.
    pub fn faults(&self) -> u64 {
        self.unit.faults.count()
    }

    /// Invalidations that were carried out.
    pub fn invalidations(&self) -> u64 {
        self.invalidations.load(Ordering::Relaxed)
    }

    /// Reads the page.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if !is_register_access(offset, data.len()) {
            return data.fill(0xff);
        }
        let registers = self.registers.lock();
        for (word, at) in data.chunks_exact_mut(4).zip((offset..).step_by(4)) {
            word.copy_from_slice(&self.word(&registers, at).to_le_bytes());
        }
    }

    /// Writes the page; what a write asks for is done when it returns.
    pub fn write(&self, offset: u64, data: &[u8]) {
        if !is_register_access(offset, data.len()) {
            return;
        }
        // Held while an invalidation waits for the device, which never asks for it.
        let mut registers = self.registers.lock();
        for (word, at) in data.chunks_exact(4).zip((offset..).step_by(4)) {
            let value = word.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            self.set_word(&mut registers, at, value);
        }
    }

    fn word(&self, registers: &Registers, offset: u64) -> u32 {
        let half = |value: u64| (value >> (offset % 8 * 8)) as u32;
        let faults = &self.unit.faults;
        match (offset, offset & !7) {
            (VERSION, _) => VERSION_1_0,
            (STATUS, _) => registers.status,
            (FAULT_STATUS, _) => faults.status(),
            (RECORD..=RECORD_END, _) => faults.read_record(((offset - RECORD) / 4) as usize),
            (_, CAPABILITIES) => half(CAPABILITIES_VALUE),
            (_, EXTENDED) => half(EXTENDED_VALUE),
            (_, ROOT) => registers.root[upper(offset)],
            (_, CONTEXT) => registers.context[upper(offset)],
            (_, at) if at == IOTLB + 8 => registers.iotlb[upper(offset)],
            _ => event(offset).map_or(0, |register| faults.read(register)),
        }
    }

    fn set_word(&self, registers: &mut Registers, offset: u64, value: u32) {
        let faults = &self.unit.faults;
        match (offset, offset & !7) {
            (COMMAND, _) => self.command(registers, value),
            (FAULT_STATUS, _) => faults.acknowledge(value),
            (RECORD..=RECORD_END, _) => {
                faults.write_record(((offset - RECORD) / 4) as usize, value);
            }
            (_, ROOT) => registers.root[upper(offset)] = value,
            (_, CONTEXT) => {
                registers.context[upper(offset)] = value;
                let [_, command] = &mut registers.context;
                self.invalidate(command, CONTEXT_ASKED, CONTEXT_DONE, CONTEXT_DONE_GLOBAL);
            }
            (_, at) if at == IOTLB + 8 => {
                registers.iotlb[upper(offset)] = value;
                let [_, command] = &mut registers.iotlb;
                self.invalidate(command, IOTLB_ASKED, IOTLB_DONE, IOTLB_DONE_GLOBAL);
            }
            _ => {
                if let Some(register) = event(offset) {
                    faults.write(register, value);
                }
            }
        }
    }

    /// GCMD (11.4.4.1). The status follows when the device has.
    fn command(&self, registers: &mut Registers, value: u32) {
        let mut status = registers.status & ROOT_SET | value & TRANSLATION;
        if value & ROOT_SET != 0 {
            let [low, high] = registers.root.map(u64::from);
            registers.set_root = high << 32 | low;
            status |= ROOT_SET;
        }
        if value & ROOT_SET != 0 || status != registers.status {
            self.unit.set(registers.set_root, value & TRANSLATION != 0);
            self.behind.dma_changed();
            registers.status = status;
        }
    }

    /// CCMD and IOTLB (11.4.6.1, 11.4.6.3): whatever is asked for, all is done.
    fn invalidate(&self, command: &mut u32, asked: u32, done: u32, global: u32) {
        if *command & DO == 0 {
            return;
        }
        *command &= !(DO | done);
        // A reserved granularity is none.
        if *command & asked != 0 {
            self.behind.dma_changed();
            self.invalidations.fetch_add(1, Ordering::Relaxed);
            *command |= global;
        }
    }
}

fn is_register_access(offset: u64, size: usize) -> bool {
    (size == 4 || size == 8) && offset.is_multiple_of(size as u64)
}

/// Which word of a 64-bit register.
fn upper(offset: u64) -> usize {
    (offset / 4 % 2) as usize
}

fn event(offset: u64) -> Option<Event> {
    Some(match offset {
        EVENT_CONTROL => Event::Control,
        EVENT_DATA => Event::Data,
        EVENT_ADDRESS => Event::Address,
        EVENT_UPPER_ADDRESS => Event::UpperAddress,
        _ => return None,
    })
}
