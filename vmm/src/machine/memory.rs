// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest RAM, persistent memory, and the pages that the guest may read without an
//! exit.
#![allow(unsafe_code)] // KVM is told addresses of this process; it cannot check them.

use super::error::MachineError;
use super::layout;
use super::spec::MachineSpec;
use super::start::Ram;
use crate::pmem::{Pmem, PmemError};
use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise};
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap, MmapRegion,
};

/// The first of KVM's slots that no memory of the guest's own takes, nor a page that it reads.
pub const FIRST_FREE_SLOT: u32 = 256;

/// What a guest sees of this process's memory. All of it stays mapped until the
/// guest sees it no more.
pub struct Slots {
    vm: Arc<VmFd>,
    used: u32,
    memory: Arc<GuestMemoryMmap>,
    pages: Vec<Arc<MmapRegion>>,
}

impl Slots {
    /// Shows the guest its memory.
    pub fn new(vm: Arc<VmFd>, memory: Arc<GuestMemoryMmap>) -> Result<Slots, MachineError> {
        let mut slots = Slots { vm, used: 0, memory, pages: Vec::new() };
        let memory = Arc::clone(&slots.memory);
        memory.iter().try_for_each(|region| slots.add(region.start_addr().0, region, 0))?;
        Ok(slots)
    }

    /// Shows the guest a page that it cannot write.
    pub fn add_page(&mut self, address: u64, page: Arc<MmapRegion>) -> Result<(), MachineError> {
        self.add(address, &page, KVM_MEM_READONLY)?;
        self.pages.push(page);
        Ok(())
    }

    fn add(&mut self, start: u64, mapping: &MmapRegion, flags: u32) -> Result<(), MachineError> {
        let region = kvm_userspace_memory_region {
            slot: self.used,
            flags,
            guest_phys_addr: start,
            memory_size: mapping.size() as u64,
            userspace_addr: mapping.as_ptr() as u64,
        };
        self.used += 1;
        // SAFETY: the range is a whole mapping, which is kept here as long as the slot is in
        // use, and this process reaches it by volatile access only.
        unsafe { self.vm.set_user_memory_region(region) }
            .map_err(MachineError::kvm("give the VM memory"))
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for slot in 0..self.used {
            let empty = kvm_userspace_memory_region { slot, ..Default::default() };
            // SAFETY: a region of no size takes the slot away, and gives the guest nothing.
            let taken = unsafe { self.vm.set_user_memory_region(empty) };
            if taken.is_err() {
                // Then it sees this memory for ever.
                std::mem::forget((Arc::clone(&self.memory), self.pages.clone()));
            }
        }
    }
}

/// All memory of a machine, as the guest and the device see it: RAM, and the
/// files of persistent memory.
pub fn of_machine(spec: &MachineSpec, from: Ram) -> Result<GuestMemoryMmap, MachineError> {
    let mut regions = ram(spec.memory, from)?;
    for (pmem, range) in spec.pmem.iter().zip(spec.pmem_ranges()) {
        let region = GuestRegionMmap::new(map_pmem(pmem)?, GuestAddress(range.start));
        regions.push(region.ok_or(MachineError::Memory { bytes: pmem.size() })?);
    }
    collect(regions, spec.memory)
}

/// RAM alone.
pub fn allocate(bytes: u64) -> Result<GuestMemoryMmap, MachineError> {
    collect(ram(bytes, Ram::Anonymous)?, bytes)
}

fn collect(regions: Vec<GuestRegionMmap>, bytes: u64) -> Result<GuestMemoryMmap, MachineError> {
    GuestMemoryMmap::from_regions(regions).map_err(|_| MachineError::Memory { bytes })
}

/// Reserves RAM of `bytes`; the host gives pages as the guest touches them. In a file the
/// pieces of it lie one behind the other.
fn ram(bytes: u64, from: Ram) -> Result<Vec<GuestRegionMmap>, MachineError> {
    let mut offset = 0;
    let regions = layout::ram(bytes).into_iter().map(|range| {
        let size = range.end - range.start;
        let mapping = match from {
            Ram::Anonymous => map(size),
            Ram::Shared(file) => map_ram(file, offset, size, MapFlags::MAP_SHARED),
            Ram::Private(file) => map_ram(file, offset, size, MapFlags::MAP_PRIVATE),
        };
        let mapping = mapping.ok_or(MachineError::Memory { bytes })?;
        offset += size;
        set_apart(&mapping);
        GuestRegionMmap::new(mapping, GuestAddress(range.start))
            .ok_or(MachineError::Memory { bytes })
    });
    regions.collect()
}

/// What the guest writes is in the file at once, for whoever reads it next.
fn map_pmem(pmem: &Pmem) -> Result<MmapRegion, MachineError> {
    let refused = |error| MachineError::Pmem(PmemError::Map(pmem.path().to_owned(), error));
    let bytes = usize::try_from(pmem.size()).map_err(|error| refused(io::Error::other(error)))?;
    MmapRegionBuilder::new(bytes)
        .with_file_offset(FileOffset::new(pmem.open()?, pmem.offset()))
        .with_mmap_prot((ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).bits())
        .with_mmap_flags(MapFlags::MAP_SHARED.bits())
        .build()
        .map_err(|error| refused(io::Error::other(error)))
}

/// A page for a configuration space.
pub fn config_page() -> Result<Arc<MmapRegion>, MachineError> {
    let bytes = crate::pci::CONFIG_SIZE as u64;
    Ok(Arc::new(map(bytes).ok_or(MachineError::Memory { bytes })?))
}

/// Leaves guest RAM out of core dumps. As other memory is not, the host does
/// not join it with its neighbours either, and can tell how much it is.
fn set_apart(mapping: &MmapRegion) {
    let Some(start) = NonNull::new(mapping.as_ptr().cast()) else { return };
    // A kernel that cannot only writes larger dumps.
    // SAFETY: the range is a whole mapping, and the advice changes neither
    // what is in it nor who may reach it.
    let _ = unsafe { madvise(start, mapping.size(), MmapAdvise::MADV_DONTDUMP) };
}

fn map(bytes: u64) -> Option<MmapRegion> {
    build(bytes, MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS, None)
}

/// A piece of RAM that is in a file.
fn map_ram(file: &File, offset: u64, bytes: u64, flags: MapFlags) -> Option<MmapRegion> {
    build(bytes, flags, Some(FileOffset::new(file.try_clone().ok()?, offset)))
}

fn build(bytes: u64, flags: MapFlags, file: Option<FileOffset>) -> Option<MmapRegion> {
    let mut builder = MmapRegionBuilder::new(usize::try_from(bytes).ok()?)
        .with_mmap_prot((ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).bits())
        .with_mmap_flags((flags | MapFlags::MAP_NORESERVE).bits());
    if let Some(file) = file {
        builder = builder.with_file_offset(file);
    }
    builder.build().ok()
}
