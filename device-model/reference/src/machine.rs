// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine that is memory and a count of interrupts, and its free frames.

use farfault_abi::pci::VECTORS;
use farfault_device_model::{Iommu, Platform, Refusal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
};

pub use crate::iommu::PAGE;
use crate::iommu::Pages;

/// The machine.
pub struct FakeMachine {
    memory: Arc<GuestMemoryMmap>,
    /// What of it the device is given.
    shown: Mutex<Arc<GuestMemoryMmap>>,
    iommu: Option<Arc<Pages>>,
    signals: [AtomicU64; VECTORS as usize],
    refusals: Mutex<Vec<Refusal>>,
    on_refusal: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl FakeMachine {
    /// A machine with memory in these ranges of (address, bytes).
    pub fn new(ranges: &[(u64, usize)]) -> Arc<Self> {
        Self::behind(None, ranges)
    }

    /// The same with the device behind an IOMMU.
    pub fn behind(iommu: Option<Arc<Pages>>, ranges: &[(u64, usize)]) -> Arc<Self> {
        let ranges: Vec<_> = ranges.iter().map(|(at, len)| (GuestAddress(*at), *len)).collect();
        let memory = GuestMemoryMmap::from_ranges(&ranges).expect("guest memory");
        Arc::new(Self::with(memory, iommu))
    }

    /// The same with memory that somebody else made, from address 0 on and without holes.
    pub fn on(memory: GuestMemoryMmap) -> Arc<Self> {
        Arc::new(Self::with(memory, None))
    }

    fn with(memory: GuestMemoryMmap, iommu: Option<Arc<Pages>>) -> Self {
        let (signals, refusals, on_refusal) = Default::default();
        let memory = Arc::new(memory);
        let shown = Mutex::new(Arc::clone(&memory));
        Self { memory, shown, iommu, signals, refusals, on_refusal }
    }

    /// Guest memory.
    pub fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// Gives the device only those regions of memory whose numbers `chosen` says; it is yet to
    /// be told.
    pub fn show(&self, chosen: impl Fn(usize) -> bool) {
        let regions = self.memory.iter().enumerate().filter(|(number, _)| chosen(*number));
        let same = |(_, region): (usize, &GuestRegionMmap)| {
            GuestRegionMmap::with_arc(region.get_mmap(), region.start_addr())
        };
        let shown: Option<Vec<_>> = regions.map(same).collect();
        let shown = GuestMemoryMmap::from_regions(shown.expect("regions below the last address"));
        let shown = shown.unwrap_or_default();
        *self.shown.lock().expect("no test has failed with it") = Arc::new(shown);
    }

    /// The DMA address by which a driver has the device reach a physical one.
    pub fn dma(&self, physical: u64) -> u64 {
        physical + self.iommu.as_ref().map_or(0, |iommu| iommu.shift())
    }

    /// The physical address behind a DMA address that [`FakeMachine::dma`] gave.
    pub fn physical(&self, dma: u64) -> u64 {
        dma - self.dma(0)
    }

    /// Interrupts so far on `vector`.
    pub fn signals(&self, vector: u32) -> u64 {
        self.signals[vector as usize].load(Ordering::SeqCst)
    }

    /// What the device has refused since the last call.
    pub fn take_refusals(&self) -> Vec<Refusal> {
        std::mem::take(&mut self.refusals.lock().expect("no test has failed with it"))
    }

    /// Has `hook` called with each refusal from now on; can be set once.
    pub fn on_refusal(&self, hook: impl Fn() + Send + Sync + 'static) {
        assert!(self.on_refusal.set(Box::new(hook)).is_ok(), "there is a hook");
    }

    /// Reads a u64.
    pub fn load(&self, address: u64) -> u64 {
        self.memory.load(GuestAddress(address), Ordering::Acquire).expect("address in memory")
    }

    /// Writes a u64.
    pub fn store(&self, address: u64, value: u64) {
        self.memory
            .store(value, GuestAddress(address), Ordering::Release)
            .expect("address in memory");
    }

    /// Reads a u32, before what is read later.
    pub fn load32(&self, address: u64) -> u32 {
        self.memory.load(GuestAddress(address), Ordering::Acquire).expect("address in memory")
    }

    /// Writes a u32, after what was written before.
    pub fn store32(&self, address: u64, value: u32) {
        self.memory
            .store(value, GuestAddress(address), Ordering::Release)
            .expect("address in memory");
    }

    /// Reads bytes.
    pub fn read(&self, address: u64, bytes: &mut [u8]) {
        self.memory.read_slice(bytes, GuestAddress(address)).expect("range in memory");
    }

    /// Writes bytes.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).expect("range in memory");
    }
}

impl Platform for FakeMachine {
    fn memory(&self) -> Arc<GuestMemoryMmap> {
        self.shown.lock().expect("no test has failed with it").clone()
    }

    fn iommu(&self) -> Option<Arc<dyn Iommu>> {
        self.iommu.clone().map(|iommu| iommu as _)
    }

    fn signal(&self, vector: u16) {
        self.signals[usize::from(vector)].fetch_add(1, Ordering::SeqCst);
    }

    fn refused(&self, refusal: &Refusal) {
        self.refusals.lock().expect("no test has failed with it").push(*refusal);
        self.on_refusal.get().inspect(|hook| hook());
    }
}

/// Frames that nobody uses.
pub struct Frames {
    next: u64,
    end: u64,
    free: Vec<u64>,
}

impl Frames {
    /// All frames from `start` to `end`.
    pub fn new(start: u64, end: u64) -> Self {
        Self { next: start, end, free: Vec::new() }
    }

    /// A frame of `size` bytes, aligned to it, and zero if it was never used.
    pub fn take(&mut self, size: u64) -> u64 {
        if size == PAGE
            && let Some(frame) = self.free.pop()
        {
            return frame;
        }
        let frame = self.next.next_multiple_of(size);
        assert!(frame + size <= self.end, "out of guest memory");
        self.next = frame + size;
        frame
    }

    /// A table or page, zeroed.
    pub fn take_zeroed(&mut self, machine: &FakeMachine) -> u64 {
        let frame = self.take(PAGE);
        machine.write(frame, &[0; PAGE as usize]);
        frame
    }

    /// Gives back a 4 KiB frame.
    pub fn give(&mut self, frame: u64) {
        self.free.push(frame);
    }
}
