// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MSI-X: the vector table and the pending bits that the guest sees in a BAR,
//! and the rule when a message is sent and when it stays pending.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// "No vector": what a driver writes to disconnect an event from MSI-X.
pub const NO_VECTOR: u16 = 0xffff;

/// Where the pending bits are behind the start of the table: in a page of their own.
pub const PENDING: u64 = 0x1000;
/// Bytes that the two take in a BAR.
pub const MSIX_BYTES: u64 = 2 * PENDING;

const ENTRY_SIZE: u64 = 16;
const CONTROL_MASKED: u32 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub address: u64,
    pub data: u32,
}

impl Message {
    /// Sets the lower half of the address, as a register of 32 bits has it.
    pub fn set_lower(&mut self, value: u32) {
        self.address = self.address & !0xffff_ffff | u64::from(value & !3);
    }

    /// Sets the upper half of the address.
    pub fn set_upper(&mut self, value: u32) {
        self.address = self.address & 0xffff_ffff | u64::from(value) << 32;
    }
}

/// Where the messages of one vector go.
pub trait MessageSink: Send + Sync {
    /// From now on this is the message. Called when the guest unmasks the vector,
    /// long before the first message as a rule: an implementation does well to
    /// leave costly work to [`MessageSink::send`].
    fn program(&self, message: Message);
    /// Sends it.
    fn send(&self);
}

pub struct Msix {
    state: Mutex<MsixState>,
    sent: AtomicU64,
}

struct MsixState {
    enabled: bool,
    all_masked: bool,
    bus_master: bool,
    vectors: Vec<Vector>,
}

struct Vector {
    sink: Box<dyn MessageSink>,
    message: Message,
    masked: bool,
    pending: bool,
}

/// A table and its pending bits as a value; what switches it is in configuration space.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedMsix {
    vectors: Vec<SavedVector>,
    sent: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedVector {
    message: Message,
    masked: bool,
    pending: bool,
}

impl Msix {
    /// A table with a masked entry for each of `sinks`.
    pub fn new(sinks: Vec<Box<dyn MessageSink>>) -> Msix {
        let vector =
            |sink| Vector { sink, message: Message::default(), masked: true, pending: false };
        let vectors = sinks.into_iter().map(vector).collect();
        let state = MsixState { enabled: false, all_masked: false, bus_master: false, vectors };
        Msix { state: Mutex::new(state), sent: AtomicU64::new(0) }
    }

    pub fn vectors(&self) -> u16 {
        self.state.lock().vectors.len() as u16
    }

    /// Sends the message of `vector`, or keeps it pending while it is masked.
    /// Dropped while MSI-X is off: there is no other interrupt to take its place.
    pub fn signal(&self, vector: u16) {
        let mut state = self.state.lock();
        if !state.enabled {
            return;
        }
        if let Some(vector) = state.vectors.get_mut(usize::from(vector)) {
            vector.pending = true;
        }
        self.deliver(&mut state);
    }

    /// Follows the configuration space.
    pub fn configure(&self, enabled: bool, all_masked: bool, bus_master: bool) {
        let mut state = self.state.lock();
        (state.enabled, state.all_masked, state.bus_master) = (enabled, all_masked, bus_master);
        self.deliver(&mut state);
    }

    /// All vectors masked and empty, MSI-X off.
    pub fn reset(&self) {
        let mut state = self.state.lock();
        (state.enabled, state.all_masked, state.bus_master) = (false, false, false);
        for vector in &mut state.vectors {
            (vector.message, vector.masked, vector.pending) = (Message::default(), true, false);
        }
    }

    pub fn save(&self) -> SavedMsix {
        let of = |vector: &Vector| {
            let Vector { message, masked, pending, .. } = *vector;
            SavedVector { message, masked, pending }
        };
        let vectors = self.state.lock().vectors.iter().map(of).collect();
        SavedMsix { vectors, sent: self.sent() }
    }

    /// Makes a table that is switched off what `saved` was; false if that was of another size.
    pub fn restore(&self, saved: &SavedMsix) -> bool {
        let mut state = self.state.lock();
        if state.vectors.len() != saved.vectors.len() {
            return false;
        }
        for (vector, saved) in state.vectors.iter_mut().zip(&saved.vectors) {
            let SavedVector { message, masked, pending } = *saved;
            (vector.message, vector.masked, vector.pending) = (message, masked, pending);
            if !masked {
                vector.sink.program(message);
            }
        }
        self.sent.store(saved.sent, Ordering::Relaxed);
        true
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Reads the table or the pending bits. The specification knows aligned accesses of 4 and 8
    /// bytes; others read as ones.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if !is_register_access(offset, data.len()) {
            data.fill(0xff);
            return;
        }
        let state = self.state.lock();
        for (i, chunk) in data.chunks_exact_mut(4).enumerate() {
            let value = register(&state, offset + 4 * i as u64);
            chunk.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Writes the table; accesses that the specification does not know and
    /// writes to the pending bits do nothing.
    pub fn write(&self, offset: u64, data: &[u8]) {
        if !is_register_access(offset, data.len()) {
            return;
        }
        let mut state = self.state.lock();
        for (i, chunk) in data.chunks_exact(4).enumerate() {
            let value = chunk.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            set_register(&mut state, offset + 4 * i as u64, value);
        }
        let vector = state.vectors.get((offset / ENTRY_SIZE) as usize);
        if let Some(vector) = vector.filter(|vector| !vector.masked) {
            vector.sink.program(vector.message);
        }
        self.deliver(&mut state);
    }

    /// Sends every pending message that nothing holds back. The lock on the
    /// state is held, so a message goes out as it is programmed at that moment.
    fn deliver(&self, state: &mut MsixState) {
        if !state.enabled || state.all_masked || !state.bus_master {
            return;
        }
        for vector in &mut state.vectors {
            if vector.pending && !vector.masked {
                vector.pending = false;
                self.sent.fetch_add(1, Ordering::Relaxed);
                vector.sink.send();
            }
        }
    }
}

fn register(state: &MsixState, offset: u64) -> u32 {
    let Some(vector) = state.vectors.get((offset / ENTRY_SIZE) as usize) else {
        return offset.checked_sub(PENDING).map_or(0, |offset| pending_bits(state, offset));
    };
    match offset % ENTRY_SIZE {
        0 => vector.message.address as u32,
        4 => (vector.message.address >> 32) as u32,
        8 => vector.message.data,
        _ => u32::from(vector.masked),
    }
}

/// Whether an access is one that registers of 32 and 64 bits have.
pub fn is_register_access(offset: u64, size: usize) -> bool {
    (size == 4 || size == 8) && offset.is_multiple_of(size as u64)
}

fn pending_bits(state: &MsixState, offset: u64) -> u32 {
    let first = (offset as usize).saturating_mul(8);
    let vectors = state.vectors.iter().skip(first).take(32);
    vectors.enumerate().fold(0, |bits, (i, vector)| bits | u32::from(vector.pending) << i)
}

fn set_register(state: &mut MsixState, offset: u64, value: u32) {
    let Some(vector) = state.vectors.get_mut((offset / ENTRY_SIZE) as usize) else { return };
    match offset % ENTRY_SIZE {
        0 => vector.message.set_lower(value),
        4 => vector.message.set_upper(value),
        8 => vector.message.data = value,
        _ => vector.masked = value & CONTROL_MASKED != 0,
    }
}
