// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A kernel and a device made of a thread, for tests: it takes descriptors from
//! real rings and carries them out on the process's own memory.
#![allow(unsafe_code, reason = "stands in for a device that reaches memory by address")]

use crate::kernel::{Doorbell, Kernel};
use crate::{Device, Queue};
use farfault_abi::descriptor::{self as abi, Completion, Descriptor};
use farfault_abi::ring::RING_ENTRIES_OFFSET;
use farfault_abi::uapi::{
    Advise, Info, Migrate, Prefetch, QueueCreate, Register, UAPI_VERSION, Unregister, Wait,
};
use nix::Result;
use nix::errno::Errno;
use std::ptr::with_exposed_provenance_mut;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// What tests set and read.
#[derive(Default)]
pub struct State {
    queues: Vec<Option<FakeQueue>>,
    stopped: bool,
    /// Commands the device may still carry out; `None` for any number.
    pub budget: Option<u64>,
    /// How many of the next waits are interrupted by a signal.
    pub interrupts: u32,
    /// Accesses at or above this address are refused.
    pub refused_from: Option<u64>,
    /// The queue halts instead of carrying out this opcode.
    pub halt_on: Option<u32>,
    /// The head of a ring stays where it is.
    pub stuck: bool,
    /// What every WAIT answers instead of waiting.
    pub wait_answer: Option<Errno>,
    /// WAITs that came in.
    pub waits: u32,
    /// Doorbells that were rung.
    pub doorbells: u32,
    /// Queues taken away.
    pub destroyed: u32,
    /// Prefetches that came in.
    pub prefetches: Vec<Prefetch>,
    /// Snapshots that were taken: address and pages.
    pub snapshots: Vec<(u64, usize)>,
    /// Advice that was given.
    pub advice: Vec<Advise>,
    pub migrations: Vec<Migrate>,
    /// Buffers that are registered.
    pub registered: Vec<Register>,
    /// Most commands that were seen in a ring at once.
    pub deepest: u32,
    /// The command that was seen last.
    pub last: Descriptor,
}

struct FakeQueue {
    ring: u64,
    entries: u32,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The device; its thread ends when it is dropped.
pub struct Fake {
    shared: Arc<Shared>,
    engine: Option<JoinHandle<()>>,
}

/// The kernel's side of it.
struct FakeKernel(Arc<Shared>);

struct FakeDoorbell(Arc<Shared>);

impl Fake {
    pub fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let engine = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.run()
        });
        Self { shared, engine: Some(engine) }
    }

    pub fn queue(&self, entries: u32) -> Queue {
        Device::with(self.kernel()).unwrap().queue(entries).unwrap()
    }

    pub fn kernel(&self) -> Arc<dyn Kernel> {
        Arc::new(FakeKernel(Arc::clone(&self.shared)))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Changes how the device behaves, and makes it look again.
    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.shared.changed.notify_all();
    }

    /// Lets the device work once so many WAITs have come in.
    pub fn release_at(&self, waits: u32) {
        while self.state().waits < waits {
            std::thread::yield_now();
        }
        self.set(|state| state.budget = None);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.set(|state| state.stopped = true);
        self.engine.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.stopped {
            if state.step() {
                self.changed.notify_all();
            } else {
                state = self.changed.wait(state).unwrap();
            }
        }
    }
}

impl State {
    /// Carries out one command of any queue.
    fn step(&mut self) -> bool {
        if self.budget == Some(0) {
            return false;
        }
        let stuck = self.stuck;
        let Some(queue) = self.queues.iter().flatten().find(|queue| queue.has_work()) else {
            return false;
        };
        let (head, depth) = (queue.word(64), queue.word(0).load(Ordering::Acquire));
        let index = head.load(Ordering::Relaxed);
        self.deepest = self.deepest.max(depth.wrapping_sub(index));
        let descriptor = queue.descriptor(index);
        self.last = descriptor;
        if self.halt_on == Some(u32::from(descriptor.opcode)) {
            queue.word(68).store(1, Ordering::Release);
            return true;
        }
        self.budget = self.budget.map(|budget| budget - 1);
        let completion = execute(&descriptor, self.refused_from).to_bytes();
        // The fence is the first word, and is written last.
        for (word, bytes) in (0..).zip(completion.as_chunks().0).skip(1) {
            let address = descriptor.completion + 8 * word;
            atomic(address).store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        atomic(descriptor.completion).store(descriptor.fence, Ordering::Release);
        if stuck {
            self.budget = Some(0);
        } else {
            head.store(index.wrapping_add(1), Ordering::Release);
        }
        true
    }
}

impl FakeQueue {
    fn word(&self, offset: u64) -> &AtomicU32 {
        let word = with_exposed_provenance_mut((self.ring + offset) as usize);
        // SAFETY: in the header of a ring that lives until the queue is destroyed.
        unsafe { AtomicU32::from_ptr(word) }
    }

    fn has_work(&self) -> bool {
        self.word(0).load(Ordering::Acquire) != self.word(64).load(Ordering::Relaxed)
            && self.word(68).load(Ordering::Relaxed) == 0
    }

    fn descriptor(&self, index: u32) -> Descriptor {
        let slot = u64::from(index & (self.entries - 1)) * Descriptor::SIZE as u64;
        let base = self.ring + u64::from(RING_ENTRIES_OFFSET) + slot;
        let mut bytes = [0; Descriptor::SIZE];
        for (offset, bytes) in (0..).step_by(8).zip(bytes.chunks_exact_mut(8)) {
            let word = atomic(base + offset).load(Ordering::Relaxed);
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Descriptor::from_bytes(&bytes)
    }
}

/// Set in the device addresses of registered buffers.
const REGISTERED: u64 = 1 << 47;

/// Where the process has what is at a device address.
fn here<T>(address: u64) -> *mut T {
    with_exposed_provenance_mut((address & !REGISTERED) as usize)
}

fn atomic(address: u64) -> &'static AtomicU64 {
    // SAFETY: only used with words that live until the queue is destroyed.
    unsafe { AtomicU64::from_ptr(here(address)) }
}

fn read<T: Copy>(address: u64, count: u64) -> &'static [T] {
    let first = here::<T>(address);
    // SAFETY: operands of a command, lent for as long as it runs.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}

fn write<T: Copy>(address: u64, count: u64) -> &'static mut [T] {
    let first = here::<T>(address);
    // SAFETY: operands of a command, lent for as long as it runs.
    unsafe { std::slice::from_raw_parts_mut(first, count as usize) }
}

fn execute(d: &Descriptor, refused_from: Option<u64>) -> Completion {
    let mut completion = Completion { done: d.length, ..Completion::default() };
    let refused = |address: u64| refused_from.is_some_and(|limit| address >= limit);
    if let Some(fault_address) = [d.source, d.destination].into_iter().find(|&a| refused(a)) {
        return Completion { status: abi::STATUS_FAULT, fault_address, done: 0, ..completion };
    }
    match u32::from(d.opcode) {
        abi::OP_NOP => {}
        abi::OP_FENCE => atomic(d.destination).store(d.operand, Ordering::Release),
        abi::OP_COPY => {
            write::<u8>(d.destination, d.length).copy_from_slice(read(d.source, d.length));
        }
        abi::OP_FILL => {
            let pattern = d.operand.to_le_bytes();
            for (i, byte) in write::<u8>(d.destination, d.length).iter_mut().enumerate() {
                *byte = pattern[i % 8];
            }
        }
        abi::OP_COMPARE => {
            let (left, right) = (read::<u8>(d.source, d.length), read(d.destination, d.length));
            let equal = left.iter().zip(right).take_while(|(l, r)| l == r).count();
            completion.result = equal as u64;
        }
        abi::OP_FETCH_ADD => {
            completion.result = atomic(d.destination).fetch_add(d.operand, Ordering::AcqRel);
        }
        abi::OP_WORD_COUNT => {
            let space = |byte: &u8| *byte == b' ' || (9..=13).contains(byte);
            let words = read::<u8>(d.source, d.length).split(space).filter(|w| !w.is_empty());
            completion.result = words.count() as u64;
        }
        abi::OP_HISTOGRAM => {
            let counts = write::<u64>(d.destination, 256);
            counts.fill(0);
            for &byte in read::<u8>(d.source, d.length) {
                counts[usize::from(byte)] += 1;
            }
        }
        abi::OP_SAXPY => {
            let factor = f32::from_bits(d.operand as u32);
            let y = write::<f32>(d.destination, d.length);
            for (y, x) in y.iter_mut().zip(read::<f32>(d.source, d.length)) {
                *y += factor * x;
            }
        }
        abi::OP_CHASE => {
            let (mut node, mut seen) = (d.source, 0);
            while node != 0 && seen < d.length {
                let value = atomic(node + d.operand2).load(Ordering::Relaxed);
                completion.result = completion.result.wrapping_add(value);
                node = atomic(node + d.operand).load(Ordering::Acquire);
                seen += 1;
            }
            completion.done = seen;
        }
        _ => completion.status = abi::STATUS_BAD_OPCODE,
    }
    completion
}

impl Kernel for FakeKernel {
    fn info(&self) -> Result<Info> {
        Ok(Info { version: UAPI_VERSION, ..Info::default() })
    }

    unsafe fn queue_create(&self, request: &mut QueueCreate) -> Result<()> {
        let mut state = self.0.state.lock().unwrap();
        request.queue = state.queues.len() as u32;
        request.doorbell = u64::from(request.queue) << 12;
        state.queues.push(Some(FakeQueue { ring: request.ring, entries: request.entries }));
        Ok(())
    }

    fn queue_destroy(&self, queue: u32) -> Result<()> {
        let mut state = self.0.state.lock().unwrap();
        let slot = state.queues.get_mut(queue as usize).ok_or(Errno::ENOENT)?;
        slot.take().ok_or(Errno::ENOENT)?;
        state.destroyed += 1;
        Ok(())
    }

    fn wait(&self, request: &Wait) -> Result<()> {
        let mut state = self.0.state.lock().unwrap();
        state.waits += 1;
        loop {
            if let Some(answer) = state.wait_answer {
                return Err(answer);
            }
            if state.interrupts > 0 {
                state.interrupts -= 1;
                return Err(Errno::EINTR);
            }
            let reached = atomic(request.address).load(Ordering::Acquire);
            if reached.wrapping_sub(request.value).cast_signed() >= 0 {
                return Ok(());
            }
            let queue = state.queues.get(request.queue as usize).and_then(Option::as_ref);
            let queue = queue.ok_or(Errno::ENOENT)?;
            if queue.word(68).load(Ordering::Acquire) != 0 {
                return Err(Errno::EIO);
            }
            state = self.0.changed.wait(state).unwrap();
        }
    }

    fn snapshot(&self, address: u64, pages: &mut [u8]) -> Result<()> {
        self.0.state.lock().unwrap().snapshots.push((address, pages.len()));
        pages.fill(farfault_abi::uapi::SNAPSHOT_READ as u8);
        Ok(())
    }

    fn advise(&self, request: &Advise) -> Result<()> {
        self.0.state.lock().unwrap().advice.push(*request);
        Ok(())
    }

    fn migrate(&self, request: &mut Migrate) -> Result<()> {
        request.moved = request.length / crate::sys::PAGE;
        self.0.state.lock().unwrap().migrations.push(*request);
        Ok(())
    }

    fn prefetch(&self, request: &Prefetch) -> Result<()> {
        self.0.state.lock().unwrap().prefetches.push(*request);
        Ok(())
    }

    fn register(&self, request: &mut Register) -> Result<()> {
        request.device_address = request.address | REGISTERED;
        self.0.state.lock().unwrap().registered.push(*request);
        Ok(())
    }

    fn unregister(&self, request: &Unregister) -> Result<()> {
        let mut state = self.0.state.lock().unwrap();
        let this = |r: &Register| r.device_address == request.device_address;
        let place = state.registered.iter().position(this).ok_or(Errno::ENOENT)?;
        state.registered.remove(place);
        Ok(())
    }

    fn doorbell(&self, _offset: u64) -> Result<Box<dyn Doorbell>> {
        Ok(Box::new(FakeDoorbell(Arc::clone(&self.0))))
    }
}

impl Doorbell for FakeDoorbell {
    fn ring(&self) {
        self.0.state.lock().unwrap().doorbells += 1;
        self.0.changed.notify_all();
    }
}
