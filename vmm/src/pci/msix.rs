// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MSI-X: the vector table and the pending bits that the guest sees in a BAR,
//! and the rule when a message is sent and when it stays pending.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// "No vector": what a driver writes to disconnect an event from MSI-X.
pub const NO_VECTOR: u16 = 0xffff;

const ENTRY_SIZE: u64 = 16;
const CONTROL_MASKED: u32 = 1;

/// One interrupt message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where it is written.
    pub address: u64,
    /// What is written.
    pub data: u32,
}

/// Carries messages of one function to the interrupt controllers.
pub trait MessageSender: Send + Sync {
    /// From now on this is the message of `vector`. Called for each vector
    /// that the guest unmasks, long before the first message as a rule: an
    /// implementation does well to leave costly work to [`MessageSender::send`].
    fn program(&self, vector: u16, message: Message);
    /// Sends the message of `vector`.
    fn send(&self, vector: u16);
}

/// The vectors of one function.
pub struct Msix {
    sender: Box<dyn MessageSender>,
    pending_offset: u64,
    state: Mutex<State>,
    sent: AtomicU64,
}

#[derive(Default)]
struct State {
    enabled: bool,
    all_masked: bool,
    bus_master: bool,
    vectors: Vec<Vector>,
}

#[derive(Clone, Copy)]
struct Vector {
    message: Message,
    masked: bool,
    pending: bool,
}

impl Vector {
    const RESET: Vector =
        Vector { message: Message { address: 0, data: 0 }, masked: true, pending: false };
}

impl Msix {
    /// A table of `vectors` masked entries, with the pending bits at
    /// `pending_offset` of the BAR.
    pub fn new(vectors: u16, pending_offset: u64, sender: Box<dyn MessageSender>) -> Msix {
        let state = State { vectors: vec![Vector::RESET; vectors.into()], ..State::default() };
        Msix { sender, pending_offset, state: Mutex::new(state), sent: AtomicU64::new(0) }
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
        state.vectors.fill(Vector::RESET);
    }

    /// Messages sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Reads the BAR. The specification knows aligned accesses of 4 and 8
    /// bytes; others read as ones.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if !is_register_access(offset, data.len()) {
            data.fill(0xff);
            return;
        }
        let state = self.state.lock();
        for (i, chunk) in data.chunks_exact_mut(4).enumerate() {
            let value = self.register(&state, offset + 4 * i as u64);
            chunk.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Writes the BAR; accesses that the specification does not know and
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
        let index = (offset / ENTRY_SIZE) as usize;
        if let Some(vector) = state.vectors.get(index).filter(|vector| !vector.masked) {
            self.sender.program(index as u16, vector.message);
        }
        self.deliver(&mut state);
    }

    /// Sends every pending message that nothing holds back. The lock on the
    /// state is held, so a message goes out as it is programmed at that moment.
    fn deliver(&self, state: &mut State) {
        if !state.enabled || state.all_masked || !state.bus_master {
            return;
        }
        for (index, vector) in state.vectors.iter_mut().enumerate() {
            if vector.pending && !vector.masked {
                vector.pending = false;
                self.sent.fetch_add(1, Ordering::Relaxed);
                self.sender.send(index as u16);
            }
        }
    }

    fn register(&self, state: &State, offset: u64) -> u32 {
        let Some(vector) = state.vectors.get((offset / ENTRY_SIZE) as usize) else {
            return match offset.checked_sub(self.pending_offset) {
                Some(offset) => pending_bits(state, offset),
                None => 0,
            };
        };
        match offset % ENTRY_SIZE {
            0 => vector.message.address as u32,
            4 => (vector.message.address >> 32) as u32,
            8 => vector.message.data,
            _ => u32::from(vector.masked),
        }
    }
}

fn is_register_access(offset: u64, size: usize) -> bool {
    (size == 4 || size == 8) && offset.is_multiple_of(size as u64)
}

fn pending_bits(state: &State, offset: u64) -> u32 {
    let first = (offset as usize).saturating_mul(8);
    let vectors = state.vectors.iter().skip(first).take(32);
    vectors.enumerate().fold(0, |bits, (i, vector)| bits | u32::from(vector.pending) << i)
}

fn set_register(state: &mut State, offset: u64, value: u32) {
    let Some(vector) = state.vectors.get_mut((offset / ENTRY_SIZE) as usize) else { return };
    let address = &mut vector.message.address;
    match offset % ENTRY_SIZE {
        0 => *address = *address & !0xffff_ffff | u64::from(value & !3),
        4 => *address = *address & 0xffff_ffff | u64::from(value) << 32,
        8 => vector.message.data = value,
        _ => vector.masked = value & CONTROL_MASKED != 0,
    }
}
